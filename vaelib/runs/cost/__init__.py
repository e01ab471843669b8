"""What a run costs: :mod:`.work` counts, :mod:`.price` has rates."""
