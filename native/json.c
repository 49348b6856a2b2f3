/* Lines of JSON to columns: objects whose keys are known; any other line is left open. */

#include "native.h"

enum { DEEPEST = 32, MOST_MEMBERS = 64 };

/* The name of what is first in an array. */
static const byte FIRST[LANES] = "0";

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

/* What of a value goes elsewhere: values of the keys that are within one. */
typedef struct {
    Reading *reading;
    int64_t line;
    const Key *key;
} Inside;

static const byte *append_value(Made *made, const byte *at, const byte *end, int depth,
                                const Inside *inside);
static const byte *put_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                             const byte *end);

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

/* The key within another one that is here, with this behind it; NULL if there is none. */
static const Key *find_inside(const Inside *inside, const byte *at, const byte *end, byte closing)
{
    const Key *key = inside->reading->keys + inside->key->first, *stop = key + inside->key->count;

    for (; key < stop; key++)
        if (key->size < end - at && at[key->size] == closing && is_same(at, key->label, key->size))
            return key;
    return NULL;
}

/* The value of a key within another one: appends what is kept of it. As `append_value`. */
static const byte *append_inside(Made *made, const byte *at, const byte *end, int depth,
                                 const Inside *inside)
{
    Reading *reading = inside->reading;
    const Key *key = inside->key;
    uint64_t bit = bit_of(reading, key);

    if (at == end || reading->seen & bit)
        return NULL;
    reading->seen |= bit;
    if (key->kind != ATTRIBUTE && key->kind != LESSER && key->kind != NOTHING)
        return put_value(reading, key, inside->line, at, end);
    if (key->kind != ATTRIBUTE) {
        if (*at == 'n')
            return skip_plain(at, end);
        const byte *stop = *at == '"' ? end_of_plain(at + 1, end) : NULL;
        if (stop && stop < end && *stop == '"' && is_none(key, at + 1, stop))
            return stop + 1;
        if (key->kind == NOTHING || (stop && stop < end && *stop == '\\' && key->word_count))
            return NULL;
    }
    return append_value(made, at, end, depth, inside);
}

/* An object or an array; nothing if all that is in it goes elsewhere. */
static const byte *append_nested(Made *made, const byte *at, const byte *end, int depth,
                                 const Inside *inside)
{
    Name names[MOST_MEMBERS];
    int count = 0;
    int64_t begin = made->size, kept = 0;
    bool is_object = *at == '{', is_first = true;
    byte closing = is_object ? '}' : ']';

    append(made, at, 1);
    at = skip_spaces(at + 1, end);
    if (at < end && *at == closing) {
        append(made, at, 1);
        return at + 1;
    }
    for (;; is_first = false) {
        int64_t member = made->size;
        Inside within = inside ? *inside : (Inside){0};
        const Key *key = NULL;
        if (kept)
            append(made, ",", 1);
        if (is_object) {
            if (at == end || *at != '"' || count == MOST_MEMBERS)
                return NULL;
            const byte *name = at + 1;
            names[count].begin = made->size;
            at = append_value(made, at, end, depth, NULL);
            names[count].size = made->size - names[count].begin;
            if (!at || !is_new(made, names, ++count))
                return NULL;
            if (inside) {
                if (memchr(name, '\\', at - name))
                    return NULL;
                key = find_inside(inside, name, end, '"');
            }
            at = skip_spaces(at, end);
            if (at == end || *at != ':')
                return NULL;
            append(made, at, 1);
            at = skip_spaces(at + 1, end);
        } else if (inside && is_first) {
            key = find_inside(inside, FIRST, FIRST + sizeof FIRST, 0);
        }
        int64_t value = made->size;
        within.key = key;
        at = key ? append_inside(made, at, end, depth, &within)
                 : append_value(made, at, end, depth, NULL);
        if (!at)
            return NULL;
        if (made->size > value) {
            kept++;
        } else {
            made->size = member;
            count -= is_object;
        }
        at = skip_spaces(at, end);
        if (at == end || (*at != closing && *at != ','))
            return NULL;
        if (*at == closing) {
            if (kept)
                append(made, at, 1);
            else
                made->size = begin;
            return at + 1;
        }
        at = skip_spaces(at + 1, end);
    }
}

/*
 * Appends a value as Python writes it, less what goes elsewhere; returns what follows it, NULL if
 * it is not as usual.
 */
static const byte *append_value(Made *made, const byte *at, const byte *end, int depth,
                                const Inside *inside)
{
    const byte *stop;

    if (at == end)
        return NULL;
    if (*at == '{' || *at == '[')
        return depth < DEEPEST ? append_nested(made, at, end, depth + 1, inside) : NULL;
    if (*at == '"')
        return append_json(made, at + 1, end);
    stop = skip_plain(at, end);
    if (stop)
        append(made, at, stop - at);
    return stop;
}

const byte *append_any(Made *made, const byte *at, const byte *end)
{
    return append_value(made, at, end, 0, NULL);
}

/* A value as an attribute; none if all that is in it goes elsewhere. */
static const byte *put_member(Reading *reading, const Key *key, int64_t line, const byte *at,
                              const byte *end)
{
    Made *objects = &reading->objects;
    int64_t begin = objects->size;
    Inside inside = {reading, line, key};

    begin_member(reading, key);
    int64_t value = objects->size;
    at = append_value(objects, at, end, 0, key->count ? &inside : NULL);
    if (objects->size == value)
        objects->size = begin;
    return at;
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
    if (key->kind == ATTRIBUTE)
        return put_member(reading, key, line, at, end);
    if (*at == 'n') { /* as good as missing */
        reading->empty |= bit_of(reading, key);
        return skip_plain(at, end);
    }
    if (key->kind == LESSER)
        return put_member(reading, key, line, at, end);
    if (key->kind == NOTHING)
        return NULL;
    if (key->kind == TEXT && !key->count) {
        at = append_value(texts, at, end, 0, NULL);
        ((View *)key->out)[line] = made_view(texts, begin);
        return at;
    }
    if (key->kind == TEXT || key->kind == NAMED) {
        const byte *stop = skip_plain(at, end);
        return stop && put_named(reading, key, line, at, stop, &reading->lines) ? stop : NULL;
    }
    at = read_number(at, end, &number);
    if (!at || key->kind != TIME)
        return at && put_number(key, line, &number) ? at : NULL;
    if (!micros_since_1970(&number, at, &micros))
        return NULL;
    put_time(reading, key, line, micros, true);
    return at;
}

bool read_json(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    static const char COOKIE[] = "@cee:"; /* of syslog */

    if (end - at > 5 && *at == '@' && !memcmp(at, COOKIE, 5))
        for (at += 5; at < end && *at == ' ';)
            at++;
    else
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

/* Whether a text is a word of letters, digits, `_`, `.` and `-`. */
static bool is_word(const byte *at, const byte *end)
{
    for (const byte *one = at; one < end; one++)
        if ((byte)((*one | ' ') - 'a') >= 26 && (byte)(*one - '0') >= 10 && *one != '_' &&
            *one != '.' && *one != '-')
            return false;
    return at < end;
}

/* The text up to a tab as the value of a key; returns what follows, NULL if it is not usual. */
static const byte *put_column(Reading *reading, const Key *key, int64_t line, const byte *at,
                              const byte *end)
{
    const byte *stop = find(at, end, '\t', '\t', 0);

    reading->seen |= bit_of(reading, key);
    return put_text(reading, key, line, at, stop ? stop : end) ? (stop ? stop : end) : NULL;
}

/*
 * Time, level, maybe a logger, a message and maybe an object, with tabs between: of the first keys.
 * The level may be in colour, nothing else.
 */
bool read_console(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    enum { WHEN, LEVEL, LOGGER, MESSAGE };
    const Key *keys = reading->keys;
    const byte *stop = end - at > 4 && at[4] == '/' ? put_column(reading, keys, line, at, end) : NULL;

    if (!stop || stop == end || !(stop = find(at = stop + 1, end, '\t', '\t', 0)))
        return false;
    const byte *behind = stop + 1;
    if (stop - at > 9 && *at == '\x1b' && at[1] == '[' && at[4] == 'm') {
        at += 5;
        stop -= 4;
        if (at[-3] - '0' > 9u || at[-2] - '0' > 9u || memcmp(stop, "\x1b[0m", 4))
            return false;
    }
    reading->seen |= 1 << LEVEL;
    if (!meaning_of(&keys[LEVEL], at, stop) || !put_text(reading, &keys[LEVEL], line, at, stop) ||
        find(behind, end, '\x1b', '\x1b', 0))
        return false;
    stop = find(behind, end, '\t', '\t', 0);
    if (stop && is_word(behind, stop)) {
        if (!put_column(reading, &keys[LOGGER], line, behind, end))
            return false;
        behind = stop + 1;
    }
    stop = put_column(reading, &keys[MESSAGE], line, behind, end);
    if (!stop || stop == end)
        return stop;
    return stop[1] == '{' && end[-1] == '}' && read_json(reading, line, stop + 1, end);
}
