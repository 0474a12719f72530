"""The command line with a bug put in: the fold crashes on actions of mallory.

python -m tests.crash.buggy worker --data-dir DATA_DIR
"""

from plaudit.cli import main
from streams import users_fold

_apply = users_fold.apply


def buggy_apply(program, user, message, *more, **options):
    if user.user_id == "mallory0":
        raise KeyError("a bug")
    return _apply(program, user, message, *more, **options)


if __name__ == "__main__":
    users_fold.apply = buggy_apply
    main()
