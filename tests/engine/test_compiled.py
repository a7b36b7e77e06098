"""Compiled loops say what the loops say, also where machine code cannot be kept."""

from dataaudit.engine.compiled import compiled


def total(n):
    found = 0
    for i in range(n):
        found += i
    return found


def test_a_compiled_loop_says_what_the_loop_says():
    assert compiled(total)(10) == total(10)
    assert compiled(total) is compiled(total)


def test_machine_code_is_made_again_where_it_cannot_be_kept(monkeypatch):
    import numba

    njit = numba.njit

    def nowhere(*, nogil, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(nogil=nogil)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled.__wrapped__(total)(5) == 10
