"""Reverse Half Asleep: going on with the encoder alone (Fig. 5)."""

from ... import files
from ...training.rha import encoder_state, train_encoder
from ..settings import RHA
from ..store import save_tensors
from .context import Context
from .vae import evaluation_sets, load_vae, score, training_distribution


def make_rha(settings: RHA, context: Context) -> None:
    """Train the encoder of a half-trained VAE on real images and its decoder's samples; score as for a VAE."""
    run = settings.vae
    vae = load_vae(run, context.store, settings.start, context.device)
    state, curve = encoder_state(vae, run.lr, settings.start), []
    if (saved := context.resume()) is not None:
        state.load(saved[0], saved[1]["epochs"])
        curve = saved[1]["curve"]
    distribution = training_distribution(run, context)
    sets = evaluation_sets(run, distribution, context)
    loop = train_encoder(
        state,
        distribution,
        epochs=settings.epochs,
        batch_size=run.batch_size,
        seed=settings.seed,
        source=settings.source,
        real_share=settings.real_share,
        amp=run.amp,
    )
    for number, running in loop:
        if number in settings.evaluations:
            curve += score(vae, sets, number)
        context.checkpoint(state.tensors, {"epochs": number, "curve": curve})
        context.report((number - settings.start) / (settings.epochs - settings.start), f"ELBO {running:,.0f}")
    save_tensors(context.folder / f"weights-{settings.epochs:05d}.safetensors", vae.state_dict())
    files.write_json(context.folder / "curve.json", curve)
