"""`python -m brainfm`, for `accelerate launch -m brainfm pretrain …`."""

from brainfm.cli import main

if __name__ == "__main__":
    main()
