/* Lines of JSON to columns: flat objects whose keys are known; any other line is left open. */

#include "native.h"

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

/* `"key":value,` */
static const byte *append_attribute(Made *made, const Key *key, const byte *at, const byte *end)
{
    const byte *stop;

    append(made, "\"", 1);
    append(made, key->name, key->size);
    append(made, "\":", 2);
    if (*at == '"') {
        append(made, at, 1);
        stop = append_text(made, at + 1, end, true);
        append(made, "\"", 1);
    } else {
        stop = skip_plain(at, end);
        if (stop)
            append(made, at, stop - at);
    }
    append(made, ",", 1);
    return stop;
}

static bool read_time(Reading *reading, const Key *key, int64_t line, const byte **at,
                      const byte *end)
{
    int64_t micros;
    bool is_zoned = true;

    if (**at == '"') {
        const byte *begin = *at + 1, *quote = end_of_plain(begin, end, '"');
        if (quote == end || *quote != '"' || !read_iso(begin, quote, &micros, &is_zoned))
            return false;
        *at = quote + 1;
    } else {
        Number number;
        *at = read_number(*at, end, &number);
        if (!*at || !micros_since_1970(&number, &micros))
            return false;
    }
    return put_time(reading, key, line, micros, is_zoned);
}

/* A number, or a text that is one. */
static bool read_amount(const Key *key, int64_t line, const byte **at, const byte *end)
{
    Number number;
    bool is_quoted = **at == '"';

    *at = read_number(*at + is_quoted, end, &number);
    if (!*at || (is_quoted && (*at == end || **at != '"')))
        return false;
    *at += is_quoted;
    return put_number(key, line, &number);
}

/* Returns what follows the value, NULL if it is not as usual. */
static const byte *read_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                              const byte *end)
{
    if (at == end)
        return NULL;
    if (key->kind == ATTRIBUTE)
        return append_attribute(&reading->objects, key, at, end);
    if (*at == 'n') /* as good as missing */
        return skip_plain(at, end);
    switch (key->kind) {
    case TEXT:
        if (*at == '"')
            return read_text(reading, at + 1, end, (View *)key->out + line);
        const byte *stop = skip_plain(at, end);
        if (stop)
            ((View *)key->out)[line] = view_of(at, stop - at, IN_LINES, reading->lines);
        return stop;
    case TIME:
        return read_time(reading, key, line, &at, end) ? at : NULL;
    default:
        return read_amount(key, line, &at, end) ? at : NULL;
    }
}

static bool read_members(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    uint64_t seen = 0;
    int64_t likely = 0;

    at = skip_spaces(at, end);
    if (at == end || *at++ != '{')
        return false;
    for (;;) {
        at = skip_spaces(at, end);
        if (at == end || *at++ != '"')
            return false;
        int64_t which = find_key(reading, likely, at, end, '"');
        if (which < 0 || seen >> which & 1)
            return false;
        const Key *key = &reading->keys[which];
        seen |= 1ULL << which;
        likely = which + 1;
        at = skip_spaces(at + key->size + 1, end);
        if (at == end || *at++ != ':')
            return false;
        at = read_value(reading, key, line, skip_spaces(at, end), end);
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

bool read_json(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    int64_t object = begin_object(reading);
    bool is_read = read_members(reading, line, at, end);
    end_object(reading, line, object);
    return is_read;
}
