"""What a promotion means, without any server."""
