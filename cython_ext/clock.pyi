UNIX_NS: object
