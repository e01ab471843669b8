"""Pictures that answer a slider: :mod:`.widgets` in JupyterLab, :mod:`.static` without a kernel; :mod:`.frames` draws."""
