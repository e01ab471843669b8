"""What a run costs: :mod:`.work` counts it, :mod:`.price` has the rates, :mod:`.machine_speed` measures them, :mod:`.plan` adds up."""
