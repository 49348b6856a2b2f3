/* Lines of logfmt to columns: pairs whose keys are known; any other line is left open. */

#include "native.h"

/* Returns what follows the value, NULL if it is not as usual. */
static const byte *put_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                             const byte *end)
{
    const byte *stop;

    if (at < end && *at == '"') {
        if (key->kind != ATTRIBUTE && at + 1 < end && at[1] == '"') {
            reading->empty |= bit_of(reading, key);
            return at + 2;
        }
        return put_quoted(reading, key, line, at + 1, end);
    }
    stop = find(at, end, '"', ' ', ' ');
    if (!stop)
        stop = end;
    if (key->kind != ATTRIBUTE && (stop == at || (stop - at == 4 && !memcmp(at, "null", 4)))) {
        reading->empty |= bit_of(reading, key); /* as good as missing */
        return stop;
    }
    return put_text(reading, key, line, at, stop) ? stop : NULL;
}

bool read_logfmt(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    for (;;) {
        while (at < end && *at <= ' ')
            at++;
        if (at == end)
            return true;
        const Key *key = find_key(reading, at, end, '=');
        bool is_bare = !key; /* without a value */
        if (is_bare)
            key = find_key(reading, at, end, 0);
        if (!key)
            return false;
        at += key->size;
        if (!is_bare) {
            at = put_value(reading, key, line, at + 1, end);
        } else if (key->kind == ATTRIBUTE) {
            begin_member(reading, key);
            append(&reading->objects, "true", 4);
        } else {
            reading->empty |= bit_of(reading, key);
        }
        if (!at || (at < end && *at > ' '))
            return false;
    }
}
