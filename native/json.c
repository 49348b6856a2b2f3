/* Lines of JSON to columns: flat objects whose keys are known; any other line is left open. */

#include <math.h>

#include "native.h"

typedef struct {
    bool is_negative, is_whole;
    uint64_t digits; /* all of them, less the point */
    int size, decimals;
} Number;

typedef struct {
    const byte *lines;
    Made texts, attributes; /* unescaped texts, and a JSON object a line */
    int zoned;              /* whether times carry their zone: -1 until the first one tells */
} Reading;

/* Powers of ten that a double holds exactly. */
static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const byte *skip_spaces(const byte *at, const byte *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Up to 18 digits without an exponent; returns where it ends, NULL if it is no such number. */
static const byte *read_number(const byte *at, const byte *end, Number *number)
{
    const byte *begin, *point = NULL;

    memset(number, 0, sizeof *number);
    number->is_negative = at < end && *at == '-';
    at += number->is_negative;
    begin = at;
    for (; at < end; at++) {
        if (*at == '.' && !point && at > begin) {
            point = at;
            continue;
        }
        unsigned digit = *at - '0';
        if (digit > 9)
            break;
        if (++number->size > 18)
            return NULL;
        number->digits = number->digits * 10 + digit;
    }
    if (at == begin || at == end || *at == 'e' || *at == 'E')
        return NULL;
    if (*begin == '0' && at > begin + 1 && begin + 1 != point)
        return NULL;
    number->is_whole = !point;
    number->decimals = point ? (int)(at - point - 1) : 0;
    if (point && !number->decimals)
        return NULL;
    return number->is_negative && !number->digits ? NULL : at; /* of -0 the sign matters */
}

/* The number divided by 10^shift; both are exact, hence the quotient is the nearest to it. */
static bool value_of(const Number *number, int64_t shift, double *value)
{
    if (number->size > 15 || number->decimals + shift > 22)
        return false;
    *value = (double)number->digits / TENS[number->decimals + shift];
    if (number->is_negative)
        *value = -*value;
    return true;
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

/* Seconds, milli-, micro- or nanoseconds since 1970, told by their size. */
static bool micros_since_1970(const Number *number, int64_t *micros)
{
    if (!number->is_whole) {
        double value;
        if (!value_of(number, 0, &value) || fabs(value) >= 1e11)
            return false;
        *micros = llrint(value * 1e6);
    } else if (number->digits < 100000000000ULL) {
        *micros = (int64_t)number->digits * 1000000;
    } else if (number->digits < 100000000000000ULL) {
        *micros = (int64_t)number->digits * 1000;
    } else if (number->digits < 100000000000000000ULL) {
        *micros = (int64_t)number->digits;
    } else if (!number->is_negative) {
        *micros = (int64_t)number->digits / 1000;
    } else {
        return false;
    }
    if (number->is_whole && number->is_negative)
        *micros = -*micros;
    return is_storable(*micros);
}

/* Four hexadecimal digits. */
static bool read_unit(const byte *at, const byte *end, uint32_t *unit)
{
    *unit = 0;
    if (end - at < 4)
        return false;
    for (int place = 0; place < 4; place++) {
        static const char DIGITS[] = "0123456789abcdefABCDEF";
        const char *digit = at[place] ? strchr(DIGITS, at[place]) : NULL;
        if (!digit)
            return false;
        int value = (int)(digit - DIGITS);
        *unit = *unit * 16 + (uint32_t)(value < 16 ? value : value - 6);
    }
    return true;
}

static bool is_half(uint32_t unit, uint32_t first)
{
    return first <= unit && unit < first + 0x400;
}

/* The character that an escape means, and what follows it; NULL if it means none. */
static const byte *read_escape(const byte *at, const byte *end, uint32_t *character)
{
    static const char NAMES[] = "\"\\/nrtbf", MEANT[] = "\"\\/\n\r\t\b\f";
    uint32_t low;

    if (end - at < 2 || !at[1])
        return NULL;
    const char *name = strchr(NAMES, at[1]);
    if (name) {
        *character = (byte)MEANT[name - NAMES];
        return at + 2;
    }
    if (at[1] != 'u' || !read_unit(at + 2, end, character))
        return NULL;
    at += 6;
    if (is_half(*character, 0xDC00))
        return NULL;
    if (!is_half(*character, 0xD800))
        return at;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || !read_unit(at + 2, end, &low) ||
        !is_half(low, 0xDC00))
        return NULL;
    *character = 0x10000 + ((*character - 0xD800) << 10) + (low - 0xDC00);
    return at + 6;
}

/* A character as UTF-8 (RFC 3629). */
static byte *write_character(byte *to, uint32_t character)
{
    static const byte FIRST[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int size = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

    for (int place = size - 1; place > 0; place--, character >>= 6)
        to[place] = 0x80 | (character & 0x3F);
    to[0] = FIRST[size] | (byte)character;
    return to + size;
}

/* A character within a text of JSON, as Python writes it. */
static byte *write_escaped(byte *to, uint32_t character)
{
    static const char WHICH[] = "\"\\\n\r\t\b\f", NAMES[] = "\"\\nrtbf", DIGITS[] = "0123456789abcdef";
    const char *which = character && character < 0x80 ? strchr(WHICH, (int)character) : NULL;

    if (which) {
        *to++ = '\\';
        *to++ = (byte)NAMES[which - WHICH];
        return to;
    }
    if (character >= ' ')
        return write_character(to, character);
    memcpy(to, "\\u00", 4);
    to[4] = (byte)DIGITS[character >> 4];
    to[5] = (byte)DIGITS[character & 15];
    return to + 6;
}

/*
 * Appends the text behind a quote, its escapes undone or, if `as_json`, as Python writes them.
 * Returns what follows the text, NULL if it is none.
 */
static const byte *append_text(Made *made, const byte *at, const byte *end, bool as_json)
{
    byte *to = made->data + made->size;

    for (;;) {
        const byte *stop = end_of_plain(at, end, '"');
        memcpy(to, at, stop - at);
        to += stop - at;
        if (stop == end || *stop < ' ')
            return NULL;
        if (*stop == '"') {
            made->size = to - made->data;
            return stop + 1;
        }
        uint32_t character;
        at = read_escape(stop, end, &character);
        if (!at)
            return NULL;
        to = as_json ? write_escaped(to, character) : write_character(to, character);
    }
}

/* A text behind its quote; returns what follows it, NULL if it is none. */
static const byte *read_text(Reading *reading, const byte *at, const byte *end, View *view)
{
    const byte *quote = end_of_plain(at, end, '"');

    if (quote < end && *quote == '"') {
        *view = view_of(at, quote - at, IN_LINES, reading->lines);
        return quote + 1;
    }
    Made *made = &reading->texts;
    const byte *begin = made->data + made->size, *stop = append_text(made, at, end, false);
    if (stop)
        *view = view_of(begin, made->data + made->size - begin, IN_TEXTS, made->data);
    return stop;
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

static void append(Made *made, const byte *at, int64_t size)
{
    memcpy(made->data + made->size, at, size);
    made->size += size;
}

/* `"key":value,` */
static const byte *append_attribute(Made *made, const Key *key, const byte *at, const byte *end)
{
    const byte *stop;

    append(made, (const byte *)"\"", 1);
    append(made, key->name, key->size);
    append(made, (const byte *)"\":", 2);
    if (*at == '"') {
        append(made, at, 1);
        stop = append_text(made, at + 1, end, true);
        append(made, (const byte *)"\"", 1);
    } else {
        stop = skip_plain(at, end);
        if (stop)
            append(made, at, stop - at);
    }
    append(made, (const byte *)",", 1);
    return stop;
}

static bool read_time(Reading *reading, const byte **at, const byte *end, int64_t *micros)
{
    bool is_zoned = true;

    if (**at == '"') {
        const byte *begin = *at + 1, *quote = end_of_plain(begin, end, '"');
        if (quote == end || *quote != '"' || !read_iso(begin, quote, micros, &is_zoned))
            return false;
        *at = quote + 1;
    } else {
        Number number;
        *at = read_number(*at, end, &number);
        if (!*at || !micros_since_1970(&number, micros))
            return false;
    }
    if (reading->zoned < 0)
        reading->zoned = is_zoned;
    return reading->zoned == is_zoned;
}

/* A number, or a text that is one. */
static bool read_amount(const Key *key, int64_t line, const byte **at, const byte *end)
{
    Number number;
    bool is_quoted = **at == '"';

    *at = read_number(*at + is_quoted, end, &number);
    if (!*at || number.is_negative || (is_quoted && **at != '"'))
        return false;
    *at += is_quoted;
    if (key->kind == SECONDS) {
        double value;
        if (!value_of(&number, key->shift, &value))
            return false;
        ((double *)key->out)[line] = value;
        return true;
    }
    if (!number.is_whole)
        return false;
    if (key->kind == LARGE) {
        ((uint64_t *)key->out)[line] = number.digits;
        return true;
    }
    ((uint16_t *)key->out)[line] = (uint16_t)number.digits;
    return number.digits <= UINT16_MAX;
}

/* Returns what follows the value, NULL if it is not as usual. */
static const byte *read_value(Reading *reading, const Key *key, int64_t line, const byte *at,
                              const byte *end)
{
    if (at == end)
        return NULL;
    if (key->kind == ATTRIBUTE)
        return append_attribute(&reading->attributes, key, at, end);
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
        return read_time(reading, &at, end, (int64_t *)key->out + line) ? at : NULL;
    default:
        return read_amount(key, line, &at, end) ? at : NULL;
    }
}

/* Which key this is, tried first for the one that followed last time; -1: none of them. */
static int64_t find_key(const Key *keys, int64_t count, int64_t likely, const byte *at,
                        const byte *end)
{
    for (int64_t tried = 0; tried < count; tried++, likely++) {
        if (likely >= count)
            likely = 0;
        const Key *key = &keys[likely];
        if (end - at > key->size && at[key->size] == '"' && !memcmp(at, key->name, key->size))
            return likely;
    }
    return -1;
}

static bool read_line(Reading *reading, const Key *keys, int64_t count, int64_t line,
                      const byte *at, const byte *end)
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
        int64_t which = find_key(keys, count, likely, at, end);
        if (which < 0 || seen >> which & 1)
            return false;
        seen |= 1ULL << which;
        likely = which + 1;
        at = skip_spaces(at + keys[which].size + 1, end);
        if (at == end || *at++ != ':')
            return false;
        at = read_value(reading, &keys[which], line, skip_spaces(at, end), end);
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

/*
 * Reads `count` lines, of which line i is lines[starts[i]] to before lines[starts[i + 1]], into the
 * columns of up to 64 keys. `ok` says of which lines all is in the columns. `attributes` (NULL: no
 * key is one) are in `made_attributes`, texts with escapes in `made_texts`. What is made of a line
 * is no longer than it: each has room for all lines, and two bytes more, for a quote and a comma
 * behind a text that does not end. Returns whether times carry their zone, -1 if none did.
 */
int64_t logwax_read_json(const byte *lines, const int64_t *starts, int64_t count, const Key *keys,
                         int64_t key_count, View *attributes, byte *made_attributes,
                         byte *made_texts, bool *ok)
{
    Reading reading = {lines, {made_texts, 0}, {made_attributes, 0}, -1};
    const int64_t *times = NULL;

    for (int64_t key = 0; key < key_count; key++)
        if (keys[key].kind == TIME)
            times = keys[key].out;
    for (int64_t line = 0; line < count; line++) {
        const byte *begin = lines + starts[line], *end = lines + starts[line + 1];
        int64_t object = reading.attributes.size;
        end -= end > begin && end[-1] == '\n';
        end -= end > begin && end[-1] == '\r';
        reading.attributes.data[reading.attributes.size++] = '{';
        ok[line] = read_line(&reading, keys, key_count, line, begin, end) && times &&
                   times[line] != NO_TIME;
        if (!attributes || !ok[line]) {
            reading.attributes.size = object;
            continue;
        }
        Made *made = &reading.attributes;
        made->size -= made->data[made->size - 1] == ','; /* of the last attribute */
        made->data[made->size++] = '}';
        attributes[line] =
            view_of(made->data + object, made->size - object, IN_ATTRIBUTES, made->data);
    }
    return reading.zoned;
}
