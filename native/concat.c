/* Rows of text, from parts of several kinds. */

#include <math.h>

#include "native.h"

/* What a part of every row is. */
enum { SAME, CODED, TEXTS, QUOTED, SIGNED, UNSIGNED, FLOATS };

/*
 * SAME: `text`, of `size`. CODED: row i has the text number `values[i]`, which ends at
 * `ends[number]`. TEXTS: views into `buffers`. QUOTED: the same between `text` and a quote with a
 * comma, quotes and backslashes escaped; nothing for an empty one. SIGNED, UNSIGNED, FLOATS: 64
 * bits each. 16 bytes behind each `text` may be read.
 */
typedef struct {
    int64_t kind;
    const byte *text;
    int64_t size;
    const int64_t *ends;
    const void *values;
    const byte *const *buffers;
} Part;

enum { MOST_DIGITS = 24, SLACK = 64 };

static byte *write_digits(byte *to, uint64_t value)
{
    static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                                "34353637383940414243444546474849505152535455565758596061626364656667"
                                "6869707172737475767778798081828384858687888990919293949596979899";
    const uint64_t EIGHT = 100000000;

    if (value >= EIGHT) {
        to = write_digits(to, value / EIGHT);
        uint32_t rest = (uint32_t)(value % EIGHT), left = rest / 10000, right = rest % 10000;
        memcpy(to, PAIRS + left / 100 * 2, 2);
        memcpy(to + 2, PAIRS + left % 100 * 2, 2);
        memcpy(to + 4, PAIRS + right / 100 * 2, 2);
        memcpy(to + 6, PAIRS + right % 100 * 2, 2);
        return to + 8;
    }
    byte digits[20], *from = digits + sizeof digits;

    while (value >= 100) {
        from -= 2;
        memcpy(from, PAIRS + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        from -= 2;
        memcpy(from, PAIRS + value * 2, 2);
    } else {
        *--from = (byte)('0' + value);
    }
    size_t size = digits + sizeof digits - from;
    memcpy(to, from, size);
    return to + size;
}

static byte *write_signed(byte *to, int64_t value)
{
    if (value < 0)
        *to++ = '-';
    return write_digits(to, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

/*
 * The shortest text that reads as this number: one of up to 15 digits that does is the only one.
 * Returns NULL if it has more, or is small or large enough for an exponent.
 */
static byte *write_float(byte *to, double value)
{
    int decimals = 6;
    uint64_t unit = 1000000;

    if (value == 0 && !signbit(value)) {
        memcpy(to, "0.0", 3);
        return to + 3;
    }
    if (!(value >= 1e-4 && value < 1e9))
        return NULL;
    uint64_t scaled = (uint64_t)llrint(value * 1e6);
    if ((double)scaled / 1e6 != value) {
        if (value >= 1e6)
            return NULL;
        decimals = 9;
        unit = 1000000000;
        scaled = (uint64_t)llrint(value * 1e9);
        if ((double)scaled / 1e9 != value)
            return NULL;
    }
    uint64_t fraction = scaled % unit;
    to = write_digits(to, scaled / unit);
    *to++ = '.';
    for (; decimals > 1 && fraction % 10 == 0; decimals--)
        fraction /= 10;
    for (int place = decimals - 1; place >= 0; place--, fraction /= 10)
        to[place] = (byte)('0' + fraction % 10);
    return to + decimals;
}

static byte *write_quoted(byte *to, const Part *part, const View *view, const byte *text)
{
    const int64_t size = view->size;

    if (!size)
        return to;
    to = put(to, part->text, part->size);
    for (int64_t at = 0; at < size;) {
        Vector piece = piece_of(view, text, at);
        unsigned which = bits((piece == '"') | (piece == '\\'));
        int64_t left = size - at < LANES ? size - at : LANES;
        int64_t plain = which ? __builtin_ctz(which) : LANES;
        store(to, piece);
        if (plain >= left) {
            to += left;
            at += left;
            continue;
        }
        to += plain;
        at += plain;
        *to++ = '\\';
        *to++ = text[at++];
    }
    memcpy(to, "\",", 2);
    return to + 2;
}

/* Returns what follows in the row, NULL if the value cannot be written here. */
static byte *write_part(byte *to, const Part *part, int64_t row, int64_t last)
{
    switch (part->kind) {
    case SAME:
        return put(to, part->text, part->size);
    case CODED: {
        uint32_t number = ((const uint32_t *)part->values)[row];
        int64_t begin = number ? part->ends[number - 1] : 0, size = part->ends[number] - begin;
        return put(to, part->text + begin, size);
    }
    case TEXTS: {
        const View *view = (const View *)part->values + row;
        expect(part->values, row, last, part->buffers);
        return put_view(to, view, bytes_of(view, part->buffers));
    }
    case QUOTED: {
        const View *view = (const View *)part->values + row;
        expect(part->values, row, last, part->buffers);
        return write_quoted(to, part, view, bytes_of(view, part->buffers));
    }
    case SIGNED:
        return write_signed(to, ((const int64_t *)part->values)[row]);
    case UNSIGNED:
        return write_digits(to, ((const uint64_t *)part->values)[row]);
    default:
        return write_float(to, ((const double *)part->values)[row]);
    }
}

static int64_t room_of(const Part *part, int64_t first, int64_t last)
{
    int64_t room = 0;

    switch (part->kind) {
    case SAME:
        return (last - first) * part->size;
    case CODED:
        for (int64_t row = first; row < last; row++) {
            uint32_t number = ((const uint32_t *)part->values)[row];
            room += part->ends[number] - (number ? part->ends[number - 1] : 0);
        }
        return room;
    case TEXTS:
    case QUOTED:
        for (int64_t row = first; row < last; row++)
            room += ((const View *)part->values)[row].size;
        return part->kind == TEXTS ? room : 2 * room + (last - first) * (part->size + 2);
    default:
        return (last - first) * MOST_DIGITS;
    }
}

/* How much room the rows from number `first` to before `last` need at most. */
int64_t logwax_room(const Part *parts, int64_t count, int64_t first, int64_t last)
{
    int64_t room = SLACK; /* see `put` */

    for (int64_t part = 0; part < count; part++)
        room += room_of(&parts[part], first, last);
    return room;
}

/*
 * Writes these rows one after another. Returns how many bytes they are, or, as -1 less its number,
 * the part with a number that needs an exponent or more digits than a few.
 */
int64_t logwax_concat(const Part *parts, int64_t count, int64_t first, int64_t last, byte *to)
{
    const byte *begin = to;

    for (int64_t row = first; row < last; row++) {
        for (int64_t part = 0; part < count; part++) {
            to = write_part(to, &parts[part], row, last);
            if (!to)
                return -1 - part;
        }
    }
    return to - begin;
}

/*
 * Writes each text behind its size, as a varint of up to 5 bytes: as ClickHouse's format Native has
 * them. Returns how many bytes these are.
 */
int64_t logwax_write_texts(const View *views, const byte *const *buffers, int64_t rows, byte *to)
{
    const byte *begin = to;

    for (int64_t row = 0; row < rows; row++) {
        uint32_t size = (uint32_t)views[row].size;
        const byte *text = bytes_of(&views[row], buffers);
        for (; size >= 128; size >>= 7)
            *to++ = (byte)(size | 128);
        *to++ = (byte)size;
        memcpy(to, text, views[row].size);
        to += views[row].size;
    }
    return to - begin;
}
