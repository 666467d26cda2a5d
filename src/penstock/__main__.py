"""`python -m penstock` is the `penstock` command. The supervisor starts its engines this way."""

from penstock.cli.main import run

if __name__ == "__main__":
    run()
