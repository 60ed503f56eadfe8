"""Who is connected: sessions, their tokens and their life time."""
