"""What has to be shown on a GPU: ``make gpu-check``. Its parts run on a CPU too, which the tests do."""
