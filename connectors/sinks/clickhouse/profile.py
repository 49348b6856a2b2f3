"""Settings that a user's profile may have on a server, and that would break what is promised."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from connectors.errors import StoreError

_NEEDED = {
    # A second insert under the same token does nothing; the first is in when it is answered.
    "insert_deduplicate": "1",
    "deduplicate_insert": "enable",
    "async_insert": "0",
    "implicit_transaction": "0",
    # One insert is one part, and what it leaves out has the table's defaults.
    "max_insert_block_size_bytes": "0",
    "input_format_defaults_for_omitted_fields": "1",
    "input_format_native_allow_types_conversion": "1",
    # An answer is whole, or an error.
    **{
        f"{of}_overflow_mode": "throw"
        for of in ("result", "read", "timeout", "group_by", "distinct", "sort", "set", "transfer")
    },
    "limit": "0",
    "offset": "0",
    "empty_result_for_aggregation_by_empty_set": "0",
    "apply_deleted_mask": "1",
    "lightweight_deletes_sync": "2",
}

# What an insert says of itself: see `clickhouse_insert`.
_OF_INSERTS = (
    "insert_deduplication_token",
    "max_insert_block_size",
    "min_insert_block_size_rows",
    "min_insert_block_size_bytes",
)


def override_profile(client: Client, user: str, *, writes: bool) -> None:
    """Let every request of this client say what the profile has in another way.

    A reader does without what it must not change: `readonly = 1` admits no settings at all. Raises
    `StoreError` if the client `writes`, and must not change what it has to.
    """
    known = client.server_settings
    wrong = {
        name: value
        for name, value in _NEEDED.items()
        if name in known and known[name].value != value
    }
    if writes:
        fixed = [name for name in (*wrong, *_OF_INSERTS) if name in known and known[name].readonly]
        if fixed:
            raise StoreError(
                f"ClickHouse does not let the user {user} change {', '.join(fixed)}, which has to "
                "be as Logwax needs it: lift `readonly` and constraints of the user's profile."
            )
    for name, value in wrong.items():
        if not known[name].readonly:
            client.set_client_setting(name, value)
