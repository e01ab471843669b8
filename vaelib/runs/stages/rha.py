"""Reverse Half Asleep: going on with the encoder alone (Fig. 5)."""

from ...training.rha import encoder_state, train_encoder
from ..cost.work import vae_parameters
from ..kinds import makes
from ..settings import RHA
from .context import Context
from .vae import evaluation_sets, follow, load_vae, training_distribution, training_work


@makes(
    RHA,
    work=lambda rha: training_work(rha.vae, rha.epochs - rha.start, len(rha.evaluations)),
    size=lambda rha: 4 * vae_parameters(rha.vae.network, rha.vae.data.channels),
)
def make_rha(settings: RHA, context: Context) -> None:
    """Train the encoder of a half-trained VAE on real images and its decoder's samples; score as for a VAE."""
    run = settings.vae
    vae = load_vae(run, context.store, settings.start, context.device)
    state = encoder_state(vae, run.lr, settings.start)
    distribution = training_distribution(run, context)
    loop = train_encoder(
        state,
        distribution,
        **settings.only("epochs seed source real_share"),
        **run.only("batch_size lr_decay amp"),
    )
    follow(
        context,
        state,
        loop,
        evaluation_sets(run, distribution, context),
        evaluations=settings.evaluations,
        snapshots=(settings.epochs,),
        epochs=(settings.start, settings.epochs),
    )
