/* Numbers and texts, whatever the format they are in. */

#include <math.h>
#include <stdlib.h>

#include "native.h"

const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

const byte *read_number(const byte *at, const byte *end, Number *number)
{
    uint64_t digits = 0;
    unsigned digit;

    number->is_negative = at < end && *at == '-';
    at += number->is_negative;
    const byte *begin = at;
    for (; at < end && (digit = *at - '0') <= 9; at++)
        digits = digits * 10 + digit;
    const byte *point = at;
    number->is_whole = at == end || *at != '.';
    if (!number->is_whole)
        for (at++; at < end && (digit = *at - '0') <= 9; at++)
            digits = digits * 10 + digit;
    number->decimals = (int)(at - point) - !number->is_whole;
    number->size = (int)(point - begin) + number->decimals;
    number->digits = digits;
    if (point == begin || at[-1] == '.' || number->size > 20)
        return NULL;
    if (number->size == 20 && (*begin != '1' || digits < 10000000000000000000U)) /* too large */
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E'))
        return NULL;
    if (*begin == '0' && point > begin + 1)
        return NULL;
    return number->is_negative && !digits ? NULL : at; /* of -0 the sign matters */
}

/* The number divided by 10^shift: both are exact, hence the quotient is the nearest to it. */
static bool value_of(const Number *number, int64_t shift, double *value)
{
    if (number->size > 15 || number->decimals + shift > 22)
        return false;
    *value = (double)number->digits / TENS[number->decimals + shift];
    return true;
}

/* The number of which the text ends here, with more digits than `value_of` takes. */
static bool long_value_of(const Number *number, const byte *end, double *value)
{
    const byte *begin = end - number->size - 1 - number->is_negative;
    char *stop;

    if (number->size > 19)
        return false;
    *value = fabs(strtod((const char *)begin, &stop));
    return (const byte *)stop == end;
}

bool micros_since_1970(const Number *number, const byte *end, int64_t *micros)
{
    if (!number->is_whole) {
        double value;
        if ((!value_of(number, 0, &value) && !long_value_of(number, end, &value)) || value >= 1e11)
            return false;
        *micros = llrint(value * 1e6);
    } else if (number->digits < 100000000000ULL) {
        *micros = (int64_t)number->digits * 1000000;
    } else if (number->digits < 100000000000000ULL) {
        *micros = (int64_t)number->digits * 1000;
    } else if (number->digits < 100000000000000000ULL) {
        *micros = (int64_t)number->digits;
    } else {
        *micros = (int64_t)(number->digits / 1000);
        if (number->is_negative) /* Python rounds it down */
            return false;
    }
    if (number->is_negative)
        *micros = -*micros;
    return is_storable(*micros);
}

bool read_epoch(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    Number number;

    *is_zoned = true;
    return read_number(at, end, &number) == end && micros_since_1970(&number, end, micros);
}

bool read_moment(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    return read_iso(at, end, micros, is_zoned) || read_epoch(at, end, micros, is_zoned);
}

static int hexadecimal(byte digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* The character that an escape means; returns what follows it, NULL if it means none. */
static const byte *read_escape(const byte *at, bool is_json, uint32_t *character)
{
    static const char *const NAMES[] = {"\"\\ntrbv", "\"\\/nrtbf"};
    static const char *const MEANT[] = {"\"\\\n\t\r\b\v", "\"\\/\n\r\t\b\f"};
    const char *name = at[1] ? strchr(NAMES[is_json], at[1]) : NULL;

    if (name) {
        *character = (byte)MEANT[is_json][name - NAMES[is_json]];
        return at + 2;
    }
    if (at[1] != (is_json ? 'u' : 'x'))
        return NULL;
    *character = 0;
    at += 2;
    for (const byte *stop = at + (is_json ? 4 : 2); at < stop; at++) {
        int digit = hexadecimal(*at);
        if (digit < 0)
            return NULL;
        *character = *character * 16 + (uint32_t)digit;
    }
    /* Halves of pairs are left to Python, and bytes that are a part of a character, or of none. */
    bool is_whole = is_json ? (*character & 0xF800) != 0xD800 : *character < 0x80;
    return is_whole ? at : NULL;
}

/* A character as UTF-8 (RFC 3629). */
static byte *write_character(byte *to, uint32_t character)
{
    static const byte FIRST[] = {0, 0, 0xC0, 0xE0};
    int size = character < 0x80 ? 1 : character < 0x800 ? 2 : 3;

    for (int place = size - 1; place > 0; place--, character >>= 6)
        to[place] = 0x80 | (character & 0x3F);
    to[0] = FIRST[size] | (byte)character;
    return to + size;
}

/* A character within a text of JSON, as Python writes it. */
static byte *write_escaped(byte *to, uint32_t character)
{
    static const char WHICH[] = "\"\\\n\r\t\b\f", NAMES[] = "\"\\nrtbf";
    static const char DIGITS[] = "0123456789abcdef";
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

const byte *append_text(Made *made, const byte *at, const byte *end, bool is_json, bool as_json)
{
    byte *to = made->data + made->size;

    for (;;) {
        const byte *stop = end_of_plain(at, end);
        to = put(to, at, stop - at);
        if (stop == end || *stop < ' ')
            return NULL;
        if (*stop == '"') {
            made->size = to - made->data;
            return stop + 1;
        }
        uint32_t character;
        at = read_escape(stop, is_json, &character);
        if (!at || at > end)
            return NULL;
        to = as_json ? write_escaped(to, character) : write_character(to, character);
    }
}

const byte *append_json(Made *made, const byte *at, const byte *end)
{
    append(made, "\"", 1);
    at = append_text(made, at, end, true, true);
    append(made, "\"", 1);
    return at;
}

/* A duration as Go writes it, such as 1m3.5s. */
static bool put_duration(const Key *key, int64_t line, const byte *at, const byte *end)
{
    static const struct {
        char name[4];
        uint64_t nanoseconds;
    } UNITS[] = {
        {"h", 3600000000000}, {"ms", 1000000},     {"m", 60000000000},    {"s", 1000000000},
        {"us", 1000},         {"\xC2\xB5s", 1000}, {"\xCE\xBCs", 1000}, {"ns", 1},
        {"", 0},
    };
    static const uint64_t MOST = 1000000000000000; /* what is less a double holds exactly */
    uint64_t total = 0, last = UINT64_MAX, part;

    while (at < end) {
        Number number;
        int which = 0;
        at = read_number(at, end, &number);
        if (!at || number.is_negative)
            return false;
        while (memcmp(at, UNITS[which].name, strlen(UNITS[which].name)))
            which++;
        uint64_t unit = UNITS[which].nanoseconds, scale = (uint64_t)TENS[number.decimals];
        at += strlen(UNITS[which].name);
        if (at > end || !unit || unit >= last ||
            __builtin_mul_overflow(number.digits, unit, &part) || part % scale)
            return false;
        last = unit;
        part /= scale;
        if (part >= MOST - total)
            return false;
        total += part;
    }
    ((double *)key->out)[line] = (double)total / 1e9;
    return true;
}

/* A number as programs write what is small, such as 1e-05. */
static bool read_small(const byte *at, const byte *end, Number *number)
{
    const byte *e = memchr(at, 'e', end - at);
    int exponent;

    if (!e || end - e < 3 || end - e > 4 || e[1] != '-' ||
        !read_digits(e + 2, (int)(end - e - 2), &exponent) || read_number(at, e, number) != e)
        return false;
    number->decimals += exponent;
    number->is_whole = false;
    return true;
}

bool put_number(const Key *key, int64_t line, const Number *number)
{
    if (number->is_negative)
        return false;
    if (key->kind == SECONDS)
        return value_of(number, key->shift, (double *)key->out + line);
    if (key->kind == LARGE) {
        ((uint64_t *)key->out)[line] = number->digits;
        return number->is_whole;
    }
    ((uint16_t *)key->out)[line] = (uint16_t)number->digits;
    return number->is_whole && number->digits <= UINT16_MAX &&
           (key->kind == SMALL || (number->digits >= 100 && number->digits <= 599));
}

/* A whole number of up to 8 digits, all of them at once; false if it is none. */
static bool read_short(const byte *at, int64_t size, Number *number)
{
    const uint64_t ZEROS = 0x3030303030303030, HIGH = 0xF0F0F0F0F0F0F0F0, SIXES = ZEROS / 8;

    if (size > 8 || (*at == '0' && size > 1))
        return false;
    uint64_t word = word_at(at) << 8 * (8 - size) | (size < 8 ? ZEROS >> 8 * size : 0);
    if ((word & HIGH) != ZEROS || ((word + SIXES) & HIGH) != ZEROS)
        return false;
    word -= ZEROS;
    word = word * 10 + (word >> 8); /* pairs of digits, then fours of them, then all */
    word = ((word & 0x000000FF000000FF) * 0x000F424000000064 +
            (word >> 16 & 0x000000FF000000FF) * 0x0000271000000001) >>
           32;
    *number = (Number){.is_whole = true, .digits = word, .size = (int)size};
    return true;
}

bool put_amount(const Key *key, int64_t line, const byte *at, const byte *end)
{
    Number number;

    if (at == end || (end - at == 1 && *at == '-')) /* there is none */
        return true;
    if ((key->kind != SECONDS && read_short(at, end - at, &number)) ||
        read_number(at, end, &number) == end)
        return put_number(key, line, &number);
    if (key->kind != SECONDS)
        return false;
    return read_small(at, end, &number) ? put_number(key, line, &number)
                                        : put_duration(key, line, at, end);
}
