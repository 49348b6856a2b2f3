/* What the compiled part is made of: see native/__init__.py. */

#ifndef LOGWAX_NATIVE_H
#define LOGWAX_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
enum { IN_LINES, IN_TEXTS, IN_ATTRIBUTES };

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

/* Where the first byte is that ends plain text: `quote`, a backslash, or a control character. */
const byte *end_of_plain(const byte *at, const byte *end, byte quote);

/* A time like 2026-11-01T12:00:00.123+01:00 in microseconds: of UTC, if it `is_zoned`. */
bool read_iso(const byte *at, const byte *end, int64_t *micros, bool *is_zoned);

/* Microseconds since 1970 of a moment; false if there is no such day or time. */
bool micros_of(int year, int month, int day, int hour, int minute, int second, int64_t *micros);

/* Whether a store can hold the time. */
bool is_storable(int64_t micros);

/* Two or four digits. */
bool read_digits(const byte *at, int count, int *value);

#endif
