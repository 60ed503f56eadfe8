"""The front door: clients by Quantum, WebSocket and HTTP; services behind it."""
