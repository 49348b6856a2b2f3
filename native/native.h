/* What the compiled part is made of: see native/__init__.py. */

#ifndef LOGWAX_NATIVE_H
#define LOGWAX_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "views are written as words of a little-endian machine"
#endif

/* Nothing of the same name elsewhere in the process shall take the place of what is here. */
#pragma GCC visibility push(hidden)

typedef uint8_t byte;

/* A text of an Arrow string view array: up to 12 bytes here, longer ones at a place in a buffer. */
typedef struct {
    int32_t size;
    union {
        byte here[12];
        struct {
            byte prefix[4];
            int32_t buffer;
            int32_t offset;
        } there;
    };
} View;

/* Which buffer a view is in if it is in the lines themselves. */
enum { IN_LINES };

/* Text that was made of lines, where it is not in them as it is: buffer number `buffer`. */
typedef struct {
    byte *data;
    int64_t size, room;
    int32_t buffer;
} Made;

/*
 * What a value becomes; a STATUS is SMALL, from 100 to 599. A NAMED is a text that may be one of
 * some words, or an address: see `put_named`. A LESSER is an attribute if the line has a value for the
 * key `main`; of NOTHING a line has none. An ASKED is a request line: see `put_asked`.
 */
enum { TEXT, TIME, STATUS, SMALL, LARGE, SECONDS, ATTRIBUTE, NAMED, LESSER, NOTHING, ASKED };

/* A word, and what it means; both are short enough to be here. */
typedef struct {
    View word, meaning;
} Word;

/*
 * A key of a line, and where its values go: one a line, in `out`, but for attributes. Of SECONDS,
 * 10^shift of the values' units are one. A line has the `label`, of this `size`; `name` is as an
 * object begins with it, `{"name":`. Within its values are the keys from number `first` on, `count`
 * of them; of pairs, what else its texts mean.
 */
typedef struct {
    const byte *label, *name;
    int64_t size, name_size;
    int64_t kind;
    int64_t shift;
    void *out;
    const Word *words;
    int64_t word_count, longest_word;
    int64_t is_address;
    int64_t first, count;
    int64_t main;
} Key;

/* Keys, by their bits, of which a line has all: whether it is read by these keys then. */
typedef struct {
    uint64_t keys;
    int64_t is_ours;
} Tell;

typedef struct {
    bool is_negative, is_whole;
    uint64_t digits; /* all of them, less the point */
    int size, decimals;
} Number;

/* The formats. */
enum { JSON, LOGFMT, LAYOUT, PAIRS, CONSOLE };

typedef struct {
    const byte *text;
    int64_t size;
    uint64_t word, mask; /* its first 8 bytes, and which of them it has */
} Literal;

/* How far a field of a layout goes, and what it means beyond the kind of its key. */
enum { WORD, TWO_WORDS, DIGITS, WORDS, ESCAPED, MOMENT, SPACES, LITERAL };
enum { ISO, EPOCH, REQUEST, PATTERN };
enum { NO_REST, PAIRS_BEHIND, VALUES_BEHIND, OTHERS_BEHIND };

/* A part of a layout: see native/lines.py. */
typedef struct {
    Literal before;
    const Literal *ends; /* `end_count` of them */
    Literal words[2]; /* texts that stand for none; or the only ones, if it `is_choice` */
    const byte *codes;
    int64_t key, shape, meaning, longest_empty;
    int64_t end_count, behind, width, together, rest;
    bool may_be_last, is_json, is_even, is_choice, is_watched, is_guess, is_fixed, is_byte,
        is_found, is_cell, has_zone;
    byte least, until[2]; /* where an end may be */
    byte odd[2];          /* with any of which the definition is asked */
} Step;

/* A layout; its first `shared` steps are those of the one before, too. */
typedef struct {
    const Step *steps;
    int64_t count, shared;
} Path;

/* Where a part of a line is. */
typedef struct {
    const byte *at, *end;
    bool has_escapes;
} Span;

/* How pairs are written: see native/lines.py. */
typedef struct {
    Literal before, after;
    int64_t count;
    byte between, sign, none;
    bool is_spaced;
} Pairs;

/*
 * The reading of lines: what Python says of it, then how far it is, which begins with 0. The last
 * time is often found again.
 */
typedef struct {
    const Key *keys;   /* those within values are behind the others */
    int64_t key_count; /* of the others */
    const Tell *tells; /* the first of which a line has all keys counts; */
    int64_t tell_count;
    int64_t untold;  /* what counts if there is none */
    uint64_t lesser; /* a bit for each key that is LESSER */
    const Path *paths; /* of layouts: a line is of the first that fits */
    int64_t path_count;
    Span *spans;         /* as many as the longest of them has steps */
    Pairs pairs;
    const byte *way;     /* codes of times that are not as usual; NULL: there are none */
    int64_t room;        /* what an object takes beside two bytes for each of its line */
    View *attributes;    /* one a line; NULL if no key is an attribute */
    Made lines;          /* themselves */
    Made texts, objects; /* unescaped texts, and objects of JSON */
    int64_t timeless;    /* whether lines need no time */
    uint64_t zone;       /* the letters of its name, if it is not UTC; 0 until the first one tells */
    uint64_t seen;       /* a bit for each key of this line */
    uint64_t empty;      /* those that have no value */
    int64_t likely;      /* number of the key that may be next */
    int64_t usual;       /* number of the layout of the line before */
    int64_t object;      /* where the one of this line begins */
    const byte *time;    /* the last one, of which there may be none */
    int64_t time_size, micros;
    const byte *codes;        /* how it was written; NULL: in no pattern */
    bool is_zoned, has_time;  /* the last time, this line */
    bool is_clock;            /* the time of this line is of no zone */
} Reading;

/* Reads one line, less its line end; false leaves it open. */
typedef bool ReadLine(Reading *reading, int64_t line, const byte *at, const byte *end);

ReadLine read_json, read_logfmt, read_layout, read_pairs, read_console;

__extension__ typedef unsigned __int128 Wide;

static inline uint64_t word_at(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline const byte *bytes_of(const View *view, const byte *const *buffers)
{
    if (view->size <= (int32_t)sizeof view->here)
        return view->here;
    return buffers[view->there.buffer] + view->there.offset;
}

/*
 * Has the text of a view that is some rows ahead brought near: most are far from each other. Always
 * inline: GCC 12 drops a call of what only prefetches.
 */
__attribute__((always_inline)) static inline void expect(const View *views, int64_t row,
                                                         int64_t count, const byte *const *buffers)
{
    enum { AHEAD = 12 };
    if (row + AHEAD < count)
        __builtin_prefetch(bytes_of(views + row + AHEAD, buffers));
}

/* 16 bytes with which all is done at once, and for each of them all bits or none. */
typedef byte Vector __attribute__((vector_size(16)));
typedef uint64_t Words __attribute__((vector_size(16)));
typedef __typeof__((Vector){0} == (Vector){0}) Flags;

enum { LANES = sizeof(Vector) };

/* A byte of it 16 times. */
static inline Vector all(byte value)
{
    return value - (Vector){0};
}

/* 16 bytes from `at`, all of which may be read. */
static inline Vector load(const void *at)
{
    Vector loaded;
    memcpy(&loaded, at, sizeof loaded);
    return loaded;
}

/* A bit for each byte. */
static inline unsigned bits(Flags found)
{
#ifdef __SSE2__
    return (unsigned)_mm_movemask_epi8((__m128i)found);
#else
    const uint64_t FIRST = 0x0101010101010101, GATHER = 0x0102040810204080;
    Words words = (Words)found & FIRST;
    return (unsigned)(words[0] * GATHER >> 56 | words[1] * GATHER >> 56 << 8);
#endif
}

/* The view of the first bytes of a text, up to 12. */
static inline View view_here(Vector text, int64_t size)
{
    const Vector PLACES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Words here = (Words)(text & (Vector)(PLACES < all((byte)size)));
    Words whole = {here[0] << 32 | (uint32_t)size, here[1] << 32 | here[0] >> 32};
    View view;

    memcpy(&view, &whole, sizeof view);
    return view;
}

/*
 * 16 bytes of the text of a view, from byte number `from` on, of which there is one or the text is
 * empty; those behind the end are anything. No byte is read that is not of the text or the view.
 */
static inline Vector piece_of(const View *view, const byte *text, int64_t from)
{
    const int64_t size = view->size;
    Wide piece;

    if (size - from >= LANES)
        return load(text + from);
    if (size >= LANES) { /* its last 16 bytes, less those before */
        memcpy(&piece, text + size - LANES, sizeof piece);
        piece >>= 8 * (from + LANES - size);
    } else if (size > (int64_t)sizeof view->here) { /* two halves that overlap */
        piece = ((Wide)word_at(text + size - 8) << 8 * (size - 8) | word_at(text)) >> 8 * from;
    } else {
        memcpy(&piece, view, sizeof piece);
        piece >>= 8 * ((int64_t)sizeof view->size + from);
    }
    return (Vector)(Words){(uint64_t)piece, (uint64_t)(piece >> 64)};
}

/* Puts 16 bytes anywhere. */
static inline void store(byte *to, Vector these)
{
    memcpy(to, &these, sizeof these);
}

/* Copies the text of a view; 16 bytes behind it may be written over. */
static inline byte *put_view(byte *to, const View *view, const byte *text)
{
    const int64_t size = view->size;

    if (size < LANES)
        store(to, piece_of(view, text, 0));
    else
        memcpy(to, text, size);
    return to + size;
}

/*
 * Lines, names of keys and what is made of lines have 64 bytes behind them that may be read. So the
 * functions here read whole vectors where a text may have less: most are short.
 */

/* Whether two texts of this size, which is not 0, are equal. */
static inline bool is_same(const byte *one, const byte *other, int64_t size)
{
    if (size > 2 * LANES)
        return !memcmp(one, other, size);
    unsigned equal = bits(load(one) == load(other));
    if (size <= LANES)
        return !(~equal << (LANES - size) & 0xffff);
    const int64_t last = size - LANES;
    return (equal & bits(load(one + last) == load(other + last))) == 0xffff;
}

/*
 * Copies a text; 16 bytes behind it may be read, and be written over in the new place. Of a literal
 * none are read: its size is known, which takes always inline to see. GCC would call memcpy for a
 * loop that counts.
 */
__attribute__((always_inline)) static inline byte *put(byte *to, const byte *at, int64_t size)
{
    byte *stop = to + size;

    if (__builtin_constant_p(size) || size > 8 * LANES)
        memcpy(to, at, size);
    else
        for (; to < stop; at += LANES, to += LANES)
            store(to, load(at));
    return stop;
}

/* In words, since what was written in pieces is slow to be read as a whole. */
static inline View view_of(const byte *text, int64_t size, int32_t buffer, const byte *base)
{
    uint64_t words[2] = {(uint32_t)size, 0};
    View view;

    if (size > (int64_t)sizeof view.here) {
        uint32_t prefix;
        memcpy(&prefix, text, sizeof prefix);
        words[0] |= (uint64_t)prefix << 32;
        words[1] = (uint32_t)buffer | (uint64_t)(text - base) << 32;
        memcpy(&view, words, sizeof view);
        return view;
    }
    return view_here(load(text), size);
}

/* What was made from `begin` on. */
static inline View made_view(const Made *made, int64_t begin)
{
    return view_of(made->data + begin, made->size - begin, made->buffer, made->data);
}

static inline bool is_here(const Literal *literal, const byte *at, const byte *end)
{
    return !((word_at(at) ^ literal->word) & literal->mask) && end - at >= literal->size &&
           (literal->size <= 8 || !memcmp(at, literal->text, literal->size));
}

/* Which of 16 bytes are one of two, or less than `least`. */
static inline uint64_t which_are(const byte *at, byte one, byte other, byte least)
{
    Vector text = load(at);
    return bits((text == one) | (text == other) | (text < least));
}

/* Where the first of these is, NULL if nowhere. Most words are short, others any size. */
static inline const byte *find(const byte *at, const byte *end, byte one, byte other, byte least)
{
    uint64_t found = which_are(at, one, other, least);

    if (!found)
        for (at += LANES; at < end; at += 4 * LANES) {
            found = which_are(at, one, other, least);
            for (int more = LANES; more < 4 * LANES; more += LANES)
                found |= which_are(at + more, one, other, least) << more;
            if (found)
                break;
        }
    at += found ? __builtin_ctzll(found) : 0;
    return at < end ? at : NULL;
}

/* Where plain text ends: at a quote, a backslash, or a control character. */
static inline const byte *end_of_plain(const byte *at, const byte *end)
{
    const byte *stop = find(at, end, '"', '\\', ' ');
    return stop ? stop : end;
}

/* times.c */

/* Reads a time in microseconds: of UTC, if it `is_zoned`. */
typedef bool ReadTime(const byte *at, const byte *end, int64_t *micros, bool *is_zoned);

ReadTime read_iso;    /* 2026-11-01T12:00:00.123+01:00, less much of it */
ReadTime read_epoch;  /* a number since 1970 */
ReadTime read_moment; /* one of these */

/*
 * Reads a time as the codes say: see flows/parsing/times.py. Returns where it ends, NULL if it is
 * not as usual; `is_none` says whether it is no such time. The letters of `zone` name the zone of
 * the clock if it is not UTC.
 */
const byte *read_pattern(const byte *codes, const byte *at, const byte *end, int64_t *micros,
                         bool *is_zoned, bool *is_none, uint64_t *zone);

/* Whether a store can hold the time. */
bool is_storable(int64_t micros);

/* Two or four digits. */
bool read_digits(const byte *at, int count, int *value);

/* values.c */

/* Powers of ten that a double holds exactly. */
extern const double TENS[23];

/* Digits of 64 bits without an exponent; returns where it ends, NULL if it is no such number. */
const byte *read_number(const byte *at, const byte *end, Number *number);

/* Seconds, milli-, micro- or nanoseconds since 1970, told by their size; its text ends here. */
bool micros_since_1970(const Number *number, const byte *end, int64_t *micros);

/* The number as the value of a key; false if it is out of its range. */
bool put_number(const Key *key, int64_t line, const Number *number);

/* A text as the value of a key of numbers; false if it is not a usual one. */
bool put_amount(const Key *key, int64_t line, const byte *at, const byte *end);

/* As `put`. There is room for 16 bytes more. */
__attribute__((always_inline)) static inline void append(Made *made, const void *text, int64_t size)
{
    made->size = put(made->data + made->size, text, size) - made->data;
}

/*
 * Appends the text behind a quote; its escapes, those of JSON or of Apache, are undone or, if
 * `as_json`, as Python writes them. Returns what follows the text, NULL if it is none.
 */
const byte *append_text(Made *made, const byte *at, const byte *end, bool is_json, bool as_json);

/* The same in quotes, as Python writes them; `at` is behind the first one. */
const byte *append_json(Made *made, const byte *at, const byte *end);

/* json.c */

/* Appends a value as Python writes it; returns what follows it, NULL if it is not as usual. */
const byte *append_any(Made *made, const byte *at, const byte *end);

/* read.c */

/*
 * The key that is here, with this behind it (0: the end of a word); NULL if there is none, or the
 * line had it before.
 */
const Key *find_key(Reading *reading, const byte *at, const byte *end, byte closing);

/* A bit for a key. */
static inline uint64_t bit_of(const Reading *reading, const Key *key)
{
    return 1ULL << (key - reading->keys);
}

/* The time as the value of a key. */
void put_time(Reading *reading, const Key *key, int64_t line, int64_t micros, bool is_zoned);

/* Appends `"name":` to the attributes of the line. */
void begin_member(Reading *reading, const Key *key);

/* Appends `"text"`; false if there are control characters. */
bool append_quoted(Made *made, const byte *at, const byte *end);

/* The same as a member of the attributes. */
bool append_member(Reading *reading, const Key *key, const byte *at, const byte *end);

/*
 * Reads a time as the codes say, and keeps what it says of its zone: returns where it ends, NULL if
 * it is not as usual, and the last time stays; see `read_pattern`.
 */
const byte *read_coded(Reading *reading, const byte *codes, const byte *at, const byte *end,
                       bool *is_none);

/* A text as the time of a line. */
bool put_moment(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end,
                ReadTime *read);

/* What a text means by the words of a key, NULL if it is none of them. */
const View *meaning_of(const Key *key, const byte *at, const byte *end);

/* What a text without escapes means as the value of a key that is not one of TEXT. */
bool put_meaning(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end);

/* A text without escapes as the value of a key. */
static inline bool put_text(Reading *reading, const Key *key, int64_t line, const byte *at,
                            const byte *end)
{
    if (key->kind != TEXT)
        return put_meaning(reading, key, line, at, end);
    ((View *)key->out)[line] = view_of(at, end - at, IN_LINES, reading->lines.data);
    return true;
}

/* Whether a text stands for no value of a key. */
bool is_none(const Key *key, const byte *at, const byte *end);

/*
 * A text that is `from` here as the value of a key that is NAMED; false if it is not as usual. A
 * port behind an address is left out; of several addresses the first counts, and all are kept.
 */
bool put_named(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end,
               const Made *from);

/*
 * What is behind a text, of the kind `rest`, as attributes: `end` becomes that of the text. The
 * `keys` are those of a logger, of the values, or of all texts. False if it is not as usual.
 */
bool put_rest(Reading *reading, int64_t rest, const Key *keys, const byte *at, const byte **end);

/* `METHOD path HTTP/1.1` as the values of the three keys within this one; false if it is none. */
bool put_asked(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end);

/* The text behind a quote as the value of a key; returns what follows, NULL if it is not usual. */
const byte *put_quoted(Reading *reading, const Key *key, int64_t line, const byte *at,
                       const byte *end);

#pragma GCC visibility pop

#endif
