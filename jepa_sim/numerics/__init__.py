"""Methods without physics: stabilised Runge–Kutta, written-out stages, compiled programs."""
