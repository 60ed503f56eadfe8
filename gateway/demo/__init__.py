"""The main job: a gateway, two clients and a bad network, live in the terminal."""
