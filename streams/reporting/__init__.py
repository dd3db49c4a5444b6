"""Reports to the Government: figures, their life, regimes, documents."""
