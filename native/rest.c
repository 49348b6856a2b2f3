/* What goes on behind the text of a field, as attributes: see flows/parsing/rest.py. */

#include "native.h"

/* Each takes a byte more at most than two for each of its own: what the time leaves is enough. */
enum { MOST_PAIRS = 16 };

enum { MOST_TRIED = 32 };

static const byte *skip_spaces(const byte *at, const byte *end)
{
    while (at < end && *at == ' ')
        at++;
    return at;
}

static bool is_over(const byte *at, const byte *end)
{
    return at == end || *at == ' ';
}

/* Where a name ends, of letters, digits, `_`, `.`, `-`, and two more. */
static const byte *end_of_name(const byte *at, const byte *end, byte one, byte other)
{
    while (at < end && ((byte)((*at | ' ') - 'a') < 26 || (byte)(*at - '0') < 10 || *at == '_' ||
                        *at == '.' || *at == '-' || *at == one || *at == other))
        at++;
    return at;
}

/* Whether the attributes of the line may have this name. */
static bool is_named(const Reading *reading, const byte *name, int64_t size)
{
    const Made *made = &reading->objects;
    const byte *begin = made->data + reading->object, *end = made->data + made->size;

    for (const byte *at = begin; (at = find(at, end, ':', ':', 0)); at++)
        if (at - begin > size + 1 && at[-2 - size] == '"' && is_same(at - 1 - size, name, size))
            return true;
    return false;
}

/*
 * Where the value that begins here ends; NULL if it is none. `is_sure` is false if what is in it
 * could be read in another way.
 */
static const byte *end_of_value(const byte *at, const byte *end, bool *is_sure)
{
    const byte first = at < end ? *at : 0, *stop;

    if (first == '\'' || first == '"') {
        *is_sure = false;
        stop = find(at + 1, end, first, '\\', 0);
        return stop && *stop == first && is_over(stop + 1, end) ? stop + 1 : NULL;
    }
    if (first == '[' || first == '{') {
        const byte closing = first + 2;
        stop = find(at + 1, end, first, closing, 0);
        if (stop && *stop == closing && is_over(stop + 1, end)) {
            *is_sure = false;
            return stop + 1;
        }
    }
    stop = find(at, end, '\'', '"', ' ' + 1);
    if (!stop || *stop == ' ')
        return stop ? stop : end;
    *is_sure &= *stop > ' ';
    return NULL;
}

/* Appends a pair; false if its value is not as usual. */
static bool append_pair(Reading *reading, const byte *name, int64_t size, const byte *at,
                        const byte *end)
{
    Made *made = &reading->objects;
    const bool is_quoted = end > at && (*at == '\'' || *at == '"');

    append(made, made->size > reading->object ? ",\"" : "{\"", 2);
    append(made, name, size);
    append(made, "\":", 2);
    return append_quoted(made, at + is_quoted, end - is_quoted);
}

/* Appends a logger and pairs; returns what follows them. */
static const byte *append_pairs(Reading *reading, const Key *logger, const byte *at,
                                const byte *end, bool *is_sure)
{
    const byte *name = skip_spaces(at, end), *stop;

    if (name < end && *name == '[') {
        stop = end_of_name(++name, end, ':', '$');
        if (stop == name || stop == end || *stop != ']' || !is_over(stop + 1, end))
            return at;
        if (is_named(reading, logger->label, logger->size)) {
            *is_sure = false;
            return at;
        }
        append_member(reading, logger, name, stop);
        at = stop + 1;
    }
    for (int count = 0; at < end; count++) {
        name = skip_spaces(at, end);
        const byte *sign = end_of_name(name, end, '_', '_');
        if (sign == name || sign == end || *sign != '=' || *name == '-' || *name == '.' ||
            (byte)(*name - '0') < 10)
            break;
        stop = end_of_value(sign + 1, end, is_sure);
        if (!stop)
            break;
        if (count == MOST_PAIRS || is_named(reading, name, sign - name) ||
            !append_pair(reading, name, sign - name, sign + 1, stop)) {
            *is_sure = false;
            break;
        }
        at = stop;
    }
    return at;
}

/* Pairs behind a text, which ends where they may begin first; false if they are not as usual. */
static bool put_pairs(Reading *reading, const Key *logger, const byte *at, const byte **end)
{
    const int64_t size = reading->objects.size;

    if (!find(at, *end, '=', ']', 0))
        return true;
    while ((at = find(at, *end, ' ', ' ', 0))) {
        bool is_sure = true;
        const byte *stop = append_pairs(reading, logger, at, *end, &is_sure);
        if (stop == *end) {
            *end = at;
            return true;
        }
        if (!is_sure)
            return false;
        reading->objects.size = size;
        at = stop > at ? stop : skip_spaces(at, *end);
    }
    return true;
}

/* Whether a value of JSON may begin so: an object or an array. */
static bool may_be_json(const byte *at, const byte *end)
{
    static const char MEMBERS[] = "\"} \t\r\n", ELEMENTS[] = "\"[]{-0123456789tfnNI \t\r\n";

    return end - at > 1 && at[1] && strchr(*at == '{' ? MEMBERS : ELEMENTS, at[1]);
}

/* Up to two values of JSON behind a text; false if they are not as usual. */
static bool put_values(Reading *reading, const Key *keys, const byte *at, const byte **end)
{
    Made *made = &reading->objects;
    const int64_t size = made->size;
    int tried = 0;

    for (; (at = find(at, *end, ' ', ' ', 0)); at++) {
        const byte *stop = at;
        if (*end - at < 2 || (at[1] != '{' && at[1] != '['))
            continue;
        if (tried++ == MOST_TRIED)
            return false;
        if (!may_be_json(at + 1, *end))
            continue;
        for (const Key *key = keys; key < keys + 2; key++) {
            if (*end - stop < 2 || *stop != ' ' || (stop[1] != '{' && stop[1] != '['))
                break;
            const int64_t member = made->size;
            begin_member(reading, key);
            const int64_t value = made->size;
            stop = append_any(made, stop + 1, *end);
            if (!stop)
                return false;
            if (made->size == value + 2) /* {} or [] */
                made->size = member;
        }
        if (stop == *end) {
            *end = at;
            return true;
        }
        made->size = size;
    }
    return true;
}

/* The first of several texts with commas between; all of them are an attribute. */
static bool put_others(Reading *reading, const Key *key, const byte *at, const byte **end)
{
    const byte *comma = find(at, *end, ',', ',', 0);

    if (comma && !append_member(reading, key, at, *end))
        return false;
    *end = comma ? comma : *end;
    return true;
}

bool put_rest(Reading *reading, int64_t rest, const Key *keys, const byte *at, const byte **end)
{
    if (rest == OTHERS_BEHIND)
        return put_others(reading, keys, at, end);
    while (*end > at && (*end)[-1] == ' ')
        (*end)--;
    return rest == PAIRS_BEHIND ? put_pairs(reading, keys, at, end)
                                : put_values(reading, keys, at, end);
}
