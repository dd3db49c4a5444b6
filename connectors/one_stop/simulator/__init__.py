"""The simulated one-stop system: an OpenCPS database, a province's working day, and a journal of it."""
