import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.memory import MemoryStore
from tests.contract.store_contract import StoreContract, everything, write


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        store = MemoryStore()
        yield store
        store.close()


small_keys = st.binary(max_size=2).map(lambda key: b"k" + key)
calls = st.one_of(
    st.tuples(st.just("put"), small_keys, st.binary(max_size=2)),
    st.tuples(st.just("delete"), small_keys),
    st.tuples(small_keys, small_keys).map(lambda ends: ("delete_range", *sorted(ends))),
)


@given(st.lists(st.lists(calls, max_size=10), max_size=10))
def test_it_is_a_sorted_dictionary(batches):
    store = MemoryStore()
    model = {}
    for batch in batches:
        write(store, *batch)
        for method, key, *rest in batch:
            if method == "put":
                model[key] = rest[0]
            elif method == "delete":
                model.pop(key, None)
            else:
                model = {k: v for k, v in model.items() if not key <= k < rest[0]}
        assert everything(store) == sorted(model.items())
