"""The command `lamella`. Each verb has a file of its own and imports `codec` only when it runs."""
