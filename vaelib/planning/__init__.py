"""What is about to be made and for what price (:mod:`.plan`), at rates measured on this machine (:mod:`.machine_speed`)."""
