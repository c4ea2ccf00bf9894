"""What is no physics: stabilised Runge–Kutta methods, written-out products, kept programs."""
