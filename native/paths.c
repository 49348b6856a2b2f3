/* Paths of requests without what differs from one request to the next. */

#include "native.h"

/* What a segment consists of. */
enum { OTHER = 1, DIGIT = 2, LETTER = 4, DASH = 8 };

static const byte KINDS[256] = {
    ['0' ... '9'] = DIGIT,
    ['a' ... 'f'] = LETTER,
    ['A' ... 'F'] = LETTER,
    ['-'] = DASH,
};

static bool is_uuid(const byte *at, int64_t size)
{
    int64_t dashes = 0;

    for (int64_t place = 0; place < size; place++)
        dashes += at[place] == '-';
    return size == 36 && dashes == 4 && at[8] == '-' && at[13] == '-' && at[18] == '-' &&
           at[23] == '-';
}

/* A number, a UUID (RFC 9562), or 16 and more hexadecimal digits. */
static bool is_id(const byte *at, int64_t size, unsigned kinds)
{
    if (!size || kinds & OTHER)
        return false;
    if (kinds & DASH)
        return is_uuid(at, size);
    return kinds == DIGIT || size >= 16;
}

static byte *copy(byte *to, const void *from, int64_t size)
{
    memcpy(to, from, size);
    return to + size;
}

/* Returns how many bytes are before the query. They are in `made` only if one segment is an id. */
static int64_t mask(const byte *path, const byte *end, byte **made)
{
    const byte *at = path, *copied = path, *segment = NULL;
    unsigned kinds = 0;

    for (;; at++) {
        byte found = at < end ? *at : '?';
        if (found != '/' && found != '?') {
            kinds |= KINDS[found] ? KINDS[found] : OTHER;
            continue;
        }
        if (segment && is_id(segment, at - segment, kinds)) {
            *made = copy(copy(*made, copied, segment - copied), ":id", 3);
            copied = at;
        }
        if (found == '?')
            break;
        segment = at + 1;
        kinds = 0;
    }
    if (copied > path)
        *made = copy(*made, copied, at - copied);
    return at - path;
}

/*
 * Fills in each of `count` paths less its query, with `:id` in the place of every segment that is
 * an id. What is not in the paths as it is, is in `made`, which is buffer number `made_is` and has
 * room for twice the bytes of all paths.
 */
void logwax_mask_ids(const View *paths, const byte *const *buffers, int64_t count, View *masked,
                     byte *made, int32_t made_is)
{
    byte *to = made;

    for (int64_t row = 0; row < count; row++) {
        const View *view = &paths[row];
        const byte *path = bytes_of(view, buffers), *begin = to;
        int64_t size = mask(path, path + view->size, &to);
        if (to > begin) {
            masked[row] = view_of(begin, to - begin, made_is, made);
        } else if (view->size <= (int32_t)sizeof view->here) {
            masked[row] = view_of(path, size, made_is, path); /* which is too short for a buffer */
        } else {
            int32_t buffer = view->there.buffer;
            masked[row] = view_of(path, size, buffer, buffers[buffer]);
        }
    }
}
