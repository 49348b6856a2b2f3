/* Lines of JSON to columns: objects whose keys are known; any other line is left open. */

#include "native.h"

enum { DEEPEST = 32, MOST_MEMBERS = 64 };

/* A key within an object, as it is in what was made. */
typedef struct {
    int64_t begin, size;
} Name;

static const byte *skip_spaces(const byte *at, const byte *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Whether Python would write the number as it is written here. */
static bool is_as_usual(const Number *number, const byte *end)
{
    if (number->is_whole)
        return true;
    if (number->size > 15 || (end[-1] == '0' && number->decimals > 1))
        return false;
    return number->decimals <= 4 || number->digits >= (uint64_t)TENS[number->decimals - 4];
}

/* Where a value ends, not a text, that Python writes as it is here; NULL if it does not. */
static const byte *skip_plain(const byte *at, const byte *end)
{
    Number number;

    if (end - at > 4 && (!memcmp(at, "true", 4) || !memcmp(at, "null", 4)))
        return at + 4;
    if (end - at > 5 && !memcmp(at, "false", 5))
        return at + 5;
    const byte *stop = read_number(at, end, &number);
    return stop && is_as_usual(&number, stop) ? stop : NULL;
}

static const byte *append_value(Made *made, const byte *at, const byte *end, int depth);

/* Of several members with one key, Python keeps the last value: such objects are left to it. */
static bool is_new(const Made *made, const Name *names, int count)
{
    const Name *last = &names[count - 1];

    for (const Name *name = names; name < last; name++)
        if (name->size == last->size &&
            !memcmp(made->data + name->begin, made->data + last->begin, last->size))
            return false;
    return true;
}

/* An object or an array. */
static const byte *append_nested(Made *made, const byte *at, const byte *end, int depth)
{
    Name names[MOST_MEMBERS];
    int count = 0;
    bool is_object = *at == '{';
    byte closing = is_object ? '}' : ']';

    append(made, at, 1);
    at = skip_spaces(at + 1, end);
    if (at < end && *at == closing) {
        append(made, at, 1);
        return at + 1;
    }
    for (;;) {
        if (is_object) {
            if (at == end || *at != '"' || count == MOST_MEMBERS)
                return NULL;
            names[count].begin = made->size;
            at = append_value(made, at, end, depth);
            names[count].size = made->size - names[count].begin;
            if (!at || !is_new(made, names, ++count))
                return NULL;
            at = skip_spaces(at, end);
            if (at == end || *at != ':')
                return NULL;
            append(made, at, 1);
            at = skip_spaces(at + 1, end);
        }
        at = append_value(made, at, end, depth);
        if (!at)
            return NULL;
        at = skip_spaces(at, end);
        if (at == end || (*at != closing && *at != ','))
            return NULL;
        append(made, at, 1);
        if (*at == closing)
            return at + 1;
        at = skip_spaces(at + 1, end);
    }
}

/* Appends a value as Python writes it; returns what follows it, NULL if it is not as usual. */
static const byte *append_value(Made *made, const byte *at, const byte *end, int depth)
{
    const byte *stop;

    if (at == end)
        return NULL;
    if (*at == '{' || *at == '[')
        return depth < DEEPEST ? append_nested(made, at, end, depth + 1) : NULL;
    if (*at == '"')
        return append_json(made, at + 1, end);
    stop = skip_plain(at, end);
    if (stop)
        append(made, at, stop - at);
    return stop;
}

/* Returns what follows the value, NULL if it is not as usual. */
static const byte *put_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                             const byte *end)
{
    Made *texts = &reading->texts;
    int64_t begin = texts->size, micros;
    Number number;

    if (at == end)
        return NULL;
    if (*at == '"')
        return put_quoted(reading, key, line, at + 1, end);
    if (key->kind == ATTRIBUTE) {
        begin_member(reading, key);
        return append_value(&reading->objects, at, end, 0);
    }
    if (*at == 'n') /* as good as missing */
        return skip_plain(at, end);
    if (key->kind == TEXT) {
        at = append_value(texts, at, end, 0);
        ((View *)key->out)[line] = made_view(texts, begin);
        return at;
    }
    at = read_number(at, end, &number);
    bool is_put = at && (key->kind == TIME ? micros_since_1970(&number, &micros) &&
                                                 put_time(reading, key, line, micros, true)
                                           : put_number(key, line, &number));
    return is_put ? at : NULL;
}

bool read_json(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    at = skip_spaces(at, end);
    if (at == end || *at++ != '{')
        return false;
    for (;;) {
        at = skip_spaces(at, end);
        if (at == end || *at++ != '"')
            return false;
        const Key *key = find_key(reading, at, end, '"');
        if (!key)
            return false;
        at = skip_spaces(at + key->size + 1, end);
        if (at == end || *at++ != ':')
            return false;
        at = put_value(reading, key, line, skip_spaces(at, end), end);
        if (!at)
            return false;
        at = skip_spaces(at, end);
        if (at == end)
            return false;
        if (*at == '}')
            return skip_spaces(at + 1, end) == end;
        if (*at++ != ',')
            return false;
    }
}
