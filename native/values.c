/* Numbers and texts, whatever the format they are in. */

#include <math.h>

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
    if (number->is_negative)
        *value = -*value;
    return true;
}

bool micros_since_1970(const Number *number, int64_t *micros)
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
        *micros = (int64_t)(number->digits / 1000);
    } else {
        return false;
    }
    if (number->is_whole && number->is_negative)
        *micros = -*micros;
    return is_storable(*micros);
}

bool read_epoch(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    Number number;

    *is_zoned = true;
    return read_number(at, end, &number) == end && micros_since_1970(&number, micros);
}

bool read_moment(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    return read_iso(at, end, micros, is_zoned) || read_epoch(at, end, micros, is_zoned);
}

int hexadecimal(byte digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* Four hexadecimal digits. */
static bool read_unit(const byte *at, const byte *end, uint32_t *unit)
{
    int digit = end - at < 4 ? -1 : 0;

    *unit = 0;
    for (int place = 0; place < 4 && digit >= 0; place++) {
        digit = hexadecimal(at[place]);
        *unit = *unit * 16 + (uint32_t)digit;
    }
    return digit >= 0;
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

const byte *append_text(Made *made, const byte *at, const byte *end, bool as_json)
{
    byte *to = made->data + made->size;

    for (;;) {
        const byte *stop = end_of_plain(at, end, '"');
        to = put(to, at, stop - at);
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

const byte *append_json(Made *made, const byte *at, const byte *end)
{
    append(made, "\"", 1);
    at = append_text(made, at, end, true);
    append(made, "\"", 1);
    return at;
}

/* How many nanoseconds the unit is that is here; 0: none is. */
static uint64_t read_unit_of_time(const byte **at, const byte *end)
{
    static const struct {
        char name[4];
        int size;
        uint64_t nanoseconds;
    } UNITS[] = {
        {"ns", 2, 1},        {"us", 2, 1000},          {"\xC2\xB5s", 3, 1000},
        {"\xCE\xBCs", 3, 1000}, {"ms", 2, 1000000},       {"s", 1, 1000000000},
        {"m", 1, 60000000000}, {"h", 1, 3600000000000},
    };

    for (size_t which = 0; which < sizeof UNITS / sizeof *UNITS; which++)
        if (end - *at >= UNITS[which].size && !memcmp(*at, UNITS[which].name, UNITS[which].size)) {
            *at += UNITS[which].size;
            return UNITS[which].nanoseconds;
        }
    return 0;
}

static bool put_duration(const Key *key, int64_t line, const byte *at, const byte *end)
{
    static const uint64_t MOST = 1000000000000000; /* what is less a double holds exactly */
    uint64_t total = 0, last = UINT64_MAX;

    while (at < end) {
        Number number;
        uint64_t part, scale = 1;
        at = read_number(at, end, &number);
        if (!at || number.is_negative)
            return false;
        uint64_t unit = read_unit_of_time(&at, end);
        for (int decimal = 0; decimal < number.decimals; decimal++)
            scale *= 10;
        if (!unit || unit >= last || __builtin_mul_overflow(number.digits, unit, &part) ||
            part % scale)
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
