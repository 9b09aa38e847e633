"""What is known of the engines that serve, and how they are asked."""
