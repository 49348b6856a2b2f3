/* Lines of logfmt to columns: pairs whose keys are known; any other line is left open. */

#include "native.h"

/* A value, which `escapes` say is not what it means. */
typedef struct {
    const byte *at, *end;
    bool is_quoted, has_escapes;
} Value;

static bool is_end(const byte *at, const byte *end)
{
    return at == end || *at <= ' ';
}

/* Where the value ends, its quotes included; NULL if it does not end as usual. */
static const byte *find_value(const byte *at, const byte *end, Value *value)
{
    const byte *stop;

    value->is_quoted = at < end && *at == '"';
    value->has_escapes = false;
    value->at = at + value->is_quoted;
    if (!value->is_quoted) {
        stop = value->end = end_of_word(at, end);
    } else {
        for (stop = end_of_plain(value->at, end, '"'); stop < end && *stop == '\\';
             stop = end_of_plain(stop + 2, end, '"')) {
            value->has_escapes = true;
            if (end - stop < 2)
                return NULL;
        }
        if (stop == end || *stop != '"')
            return NULL;
        value->end = stop++;
    }
    return is_end(stop, end) ? stop : NULL;
}

static bool put_value(Reading *reading, const Key *key, int64_t line, const Value *value)
{
    const byte *at = value->at, *end = value->end;
    Made *made = key->kind == ATTRIBUTE ? &reading->objects : &reading->texts;
    int64_t begin = made->size;

    if (key->kind != ATTRIBUTE &&
        (at == end || (!value->is_quoted && end - at == 4 && !memcmp(at, "null", 4))))
        return true; /* as good as missing */
    if (!value->has_escapes)
        return put_text(reading, key, line, at, end);
    if (key->kind == ATTRIBUTE) {
        begin_member(reading, key);
        append(made, "\"", 1);
        at = append_text(made, at, end + 1, true);
        append(made, "\"", 1);
        return at;
    }
    if (key->kind != TEXT || !append_text(made, at, end + 1, false))
        return false;
    ((View *)key->out)[line] = made_view(made, begin);
    return true;
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
            Value value;
            at = find_value(at + 1, end, &value);
            if (!at || !put_value(reading, key, line, &value))
                return false;
        } else if (key->kind == ATTRIBUTE) {
            begin_member(reading, key);
            append(&reading->objects, "true", 4);
        }
    }
}
