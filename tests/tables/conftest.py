"""Tables from text, and the one line of those that are refused."""

import pytest

from brg_prob.tables import TableError, read_table


@pytest.fixture(scope="session")
def one_line():
    """Return a function that returns the message of the TableError a call must raise; it is one line."""

    def one_line(function, *args, **options):
        with pytest.raises(TableError) as caught:
            function(*args, **options)
        message = str(caught.value)
        assert message
        assert "\n" not in message
        assert "\r" not in message
        return message

    return one_line


@pytest.fixture
def file(tmp_path):
    """Return a function that writes text or bytes to a file and returns its path."""

    def file(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return file


@pytest.fixture
def column(file):
    """Return a function that reads cells as the column c beside a counter x, in quotes where it must."""

    def column(*cells, separator=",", **options):
        rows = [f'{at}{separator}"{cell}"' for at, cell in enumerate(cells)]
        return read_table(file("\n".join([f"x{separator}c", *rows])), **options)

    return column
