"""What every HTTP door shares: the border of the application and the URLs it gives."""
