/* What the compiled part is made of: see native/__init__.py. */

#ifndef LOGWAX_NATIVE_H
#define LOGWAX_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Which buffer a view is in: the lines themselves, or what was made of them. */
enum { IN_LINES, IN_TEXTS, IN_OBJECTS };

/* Text that was made of lines, where it is not in them as it is. */
typedef struct {
    byte *data;
    int64_t size;
} Made;

/* What a value becomes. */
enum { TEXT, TIME, SMALL, LARGE, SECONDS, ATTRIBUTE };

/*
 * A key of a line, and where its values go: one a line, in `out`, but for attributes. Of SECONDS,
 * 10^shift of the values' units are one.
 */
typedef struct {
    const byte *name;
    int64_t size;
    int64_t kind;
    int64_t shift;
    void *out;
} Key;

#define NO_TIME INT64_MIN

typedef struct {
    bool is_negative, is_whole;
    uint64_t digits; /* all of them, less the point */
    int size, decimals;
} Number;

/* The formats. */
enum { JSON, LOGFMT, COMBINED, API_REQUESTS };

/* Where the reading of lines is. What was `last` found is often found again. */
typedef struct {
    const byte *lines;
    const Key *keys;
    int64_t key_count;
    View *attributes;    /* one a line; NULL if no key is an attribute */
    Made texts, objects; /* unescaped texts, and objects of JSON */
    int zoned;           /* whether times carry their zone: -1 until the first one tells */
    const byte *last_time;
    int64_t last_micros;
    View last_object;
} Reading;

/* Reads one line, less its line end; false leaves it open. */
typedef bool ReadLine(Reading *reading, int64_t line, const byte *at, const byte *end);

ReadLine read_json, read_logfmt, read_combined, read_api_requests;

static inline View view_of(const byte *text, int64_t size, int32_t buffer, const byte *base)
{
    View view;
    memset(&view, 0, sizeof view);
    view.size = (int32_t)size;
    if (size <= (int64_t)sizeof view.here) {
        memcpy(view.here, text, size);
    } else {
        memcpy(view.there.prefix, text, sizeof view.there.prefix);
        view.there.buffer = buffer;
        view.there.offset = (int32_t)(text - base);
    }
    return view;
}

static inline const byte *bytes_of(const View *view, const byte *const *buffers)
{
    if (view->size <= (int32_t)sizeof view->here)
        return view->here;
    return buffers[view->there.buffer] + view->there.offset;
}

/* text.c */

/* Where the first byte is that ends plain text: `quote`, a backslash, or a control character. */
const byte *end_of_plain(const byte *at, const byte *end, byte quote);

/* Where the first byte is that ends a word: a space, a control character, or a quote. */
const byte *end_of_word(const byte *at, const byte *end);

/* times.c */

/* A time like 2026-11-01T12:00:00.123+01:00 in microseconds: of UTC, if it `is_zoned`. */
bool read_iso(const byte *at, const byte *end, int64_t *micros, bool *is_zoned);

/* A time like [17/May/2015:10:05:03 +0000], of 28 bytes, in microseconds of UTC. */
bool read_clf(const byte *at, int64_t *micros);

/* Microseconds since 1970 of a moment; false if there is no such day or time. */
bool micros_of(int year, int month, int day, int hour, int minute, int second, int64_t *micros);

/* Whether a store can hold the time. */
bool is_storable(int64_t micros);

/* Two or four digits. */
bool read_digits(const byte *at, int count, int *value);

/* values.c */

/* Powers of ten that a double holds exactly. */
extern const double TENS[23];

/* Up to 18 digits without an exponent; returns where it ends, NULL if it is no such number. */
const byte *read_number(const byte *at, const byte *end, Number *number);

/* Seconds, milli-, micro- or nanoseconds since 1970, told by their size. */
bool micros_since_1970(const Number *number, int64_t *micros);

/* The number as the value of a key; false if it is out of its range. */
bool put_number(const Key *key, int64_t line, const Number *number);

void append(Made *made, const void *bytes, int64_t size);

/*
 * Appends the text behind a quote, its escapes undone or, if `as_json`, as Python writes them.
 * Returns what follows the text, NULL if it is none.
 */
const byte *append_text(Made *made, const byte *at, const byte *end, bool as_json);

/* A text behind its quote; returns what follows it, NULL if it is none. */
const byte *read_text(Reading *reading, const byte *at, const byte *end, View *view);

/* read.c */

/* Which key is here, tried first for the `likely` one; -1: none of them. */
int64_t find_key(const Reading *reading, int64_t likely, const byte *at, const byte *end,
                 byte closing);

/* The time as the value of a key; false if others differ in whether they carry their zone. */
bool put_time(Reading *reading, const Key *key, int64_t line, int64_t micros, bool is_zoned);

/* Around the attributes of a line, each of which ends with a comma: returns where they begin. */
int64_t begin_object(Reading *reading);
void end_object(Reading *reading, int64_t line, int64_t begin);

#pragma GCC visibility pop

#endif
