"""Who a client is, once its token or password was believed. Pure data."""

from dataclasses import dataclass

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user. *family* names the login that its tokens descend from, if any."""

    user_id: str
    username: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    family: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the user may do everything."""
        return ADMIN in self.roles
