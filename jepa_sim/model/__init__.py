"""What is simulated: objective, network, start and training, and the velocity of all factors."""
