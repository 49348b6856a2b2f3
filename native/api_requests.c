/* Lines of api_requests to columns; those with more than six fields are left open. */

#include "native.h"

/* The keys, in the order in which flows/parsing/api_requests.py names them. */
enum { TIMESTAMP, CUSTOMER, PATH, STATUS, DURATION };

static void put_text(const Reading *reading, int key, int64_t line, const byte *at,
                     const byte *end)
{
    bool is_dash = end - at == 1 && *at == '-';

    ((View *)reading->keys[key].out)[line] =
        view_of(at, is_dash ? 0 : end - at, IN_LINES, reading->lines);
}

bool read_api_requests(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const byte *ends[5], *begins[6] = {at};
    int64_t micros;
    int status;
    bool is_zoned;
    Number duration;

    for (int field = 0; field < 5; field++) {
        const byte *space = memchr(at, ' ', end - at);
        if (!space || space == at)
            return false;
        ends[field] = space;
        begins[field + 1] = at = space + 1;
    }
    if (!read_iso(begins[0], ends[1], &micros, &is_zoned) ||
        !put_time(reading, &reading->keys[TIMESTAMP], line, micros, is_zoned))
        return false;
    put_text(reading, CUSTOMER, line, begins[2], ends[2]);
    put_text(reading, PATH, line, begins[3], ends[3]);
    if (ends[4] - begins[4] != 3 || !read_digits(begins[4], 3, &status) || status < 100 ||
        status > 599)
        return false;
    ((uint16_t *)reading->keys[STATUS].out)[line] = (uint16_t)status;
    return read_number(at, end, &duration) == end &&
           put_number(&reading->keys[DURATION], line, &duration);
}
