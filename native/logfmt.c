/* Lines of logfmt to columns: pairs whose keys are known; any other line is left open. */

#include "native.h"

/* Where a word ends: at a space, a control character, or a quote. */
static const byte *end_of_word(const byte *at, const byte *end)
{
    const byte *stop = find(at, end, '"', ' ', ' ');
    return stop ? stop : end;
}

/* Returns what follows the value, NULL if it is not as usual. */
static const byte *put_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                             const byte *end)
{
    if (at < end && *at == '"')
        return put_quoted(reading, key, line, at + 1, end);
    const byte *stop = end_of_word(at, end);
    if (key->kind != ATTRIBUTE && stop - at == 4 && !memcmp(at, "null", 4))
        return stop; /* as good as missing */
    return put_text(reading, key, line, at, stop) ? stop : NULL;
}

bool read_logfmt(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    uint64_t seen = 0;
    int64_t likely = 0;

    for (;;) {
        while (at < end && *at <= ' ')
            at++;
        if (at == end)
            return true;
        int64_t which = find_key(reading, likely, at, end, '=');
        bool is_bare = which < 0; /* without a value */
        if (is_bare)
            which = find_key(reading, likely, at, end, *end_of_word(at, end));
        if (which < 0 || seen >> which & 1)
            return false;
        const Key *key = &reading->keys[which];
        seen |= 1ULL << which;
        likely = which + 1;
        at += key->size;
        if (!is_bare) {
            at = put_value(reading, key, line, at + 1, end);
        } else if (key->kind == ATTRIBUTE) {
            begin_member(reading, key);
            append(&reading->objects, "true", 4);
        }
        if (!at || (at < end && *at > ' '))
            return false;
    }
}
