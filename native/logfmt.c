/* Lines of logfmt to columns: pairs whose keys are known; any other line is left open. */

#include "native.h"

static bool is_end(const byte *at, const byte *end)
{
    return at == end || *at <= ' ';
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

/* Which key stands here alone, without a value; -1: none of them. */
static int64_t find_bare(const Reading *reading, const byte *at, const byte *end)
{
    for (int64_t which = 0; which < reading->key_count; which++) {
        const Key *key = &reading->keys[which];
        if (end - at >= key->size && is_end(at + key->size, end) &&
            !memcmp(at, key->name + 1, key->size))
            return which;
    }
    return -1;
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
        bool is_bare = which < 0;
        if (is_bare)
            which = find_bare(reading, at, end);
        if (which < 0 || seen >> which & 1)
            return false;
        const Key *key = &reading->keys[which];
        seen |= 1ULL << which;
        likely = which + 1;
        at += key->size;
        if (!is_bare) {
            at = put_value(reading, key, line, at + 1, end);
            if (!at || !is_end(at, end))
                return false;
        } else if (key->kind == ATTRIBUTE) {
            begin_member(reading, key);
            append(&reading->objects, "true", 4);
        }
    }
}
