"""What a run costs: :mod:`.work` counts, :mod:`.price` has rates, :mod:`.machine_speed` measures them, :mod:`.plan` adds up."""
