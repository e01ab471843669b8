"""What a person can mend: one line that names the setting, the allowed values and the way out."""


class VaelibError(Exception):
    """A mistake outside the code (setting, file, data, machine); the CLI prints its text and no traceback."""


class NonFinite(VaelibError):
    """A network gave NaN or infinity; nothing was made of it."""


class NonFiniteLoss(NonFinite):
    """Training met NaN or infinity and stopped; the last good checkpoint is kept."""
