CONTROLLERS: tuple[str, ...]
