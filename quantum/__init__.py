"""An encrypted, reliable-UDP transport for asyncio with a Cython core."""
