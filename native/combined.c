/* Lines of Apache's combined log to columns; those with rarities are left open. */

#include "native.h"

/* The keys, in the order in which flows/parsing/combined.py names them. */
enum { HOST, USER, TIMESTAMP, METHOD, PATH, STATUS, SIZE, REFERER, AGENT };

/* A text, in the lines or made of them. */
typedef struct {
    const byte *at, *end, *base;
    int32_t buffer;
} Text;

static void put_text(const Reading *reading, int key, int64_t line, Text text)
{
    View *views = reading->keys[key].out;

    if (text.end - text.at == 1 && *text.at == '-')
        text.end = text.at;
    views[line] = view_of(text.at, text.end - text.at, text.buffer, text.base);
}

/* Up to the next space; returns what follows it, NULL if there is none, or nothing before it. */
static const byte *read_word(const Reading *reading, const byte *at, const byte *end, Text *word)
{
    const byte *space = memchr(at, ' ', end - at);

    *word = (Text){at, space, reading->lines, IN_LINES};
    return space > at ? space + 1 : NULL;
}

static bool has(Text text, byte which)
{
#ifdef __SSE2__
    int64_t size = text.end - text.at;
    if (size <= LANES) { /* as most are */
        unsigned found = bits(_mm_cmpeq_epi8(load(text.at), all(which)));
        return found << (LANES - size) & 0xffff;
    }
#endif
    return memchr(text.at, which, text.end - text.at);
}

static int hexadecimal(byte digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* A text in quotes, its escapes undone; returns what follows, NULL if it is not as usual. */
static const byte *read_quoted(Reading *reading, const byte *at, const byte *end, Text *text)
{
    static const char NAMES[] = "\"\\ntrbv", MEANT[] = "\"\\\n\t\r\b\v";

    if (at == end || *at++ != '"')
        return NULL;
    const byte *stop = memchr(at, '"', end - at);
    if (!stop)
        return NULL;
    *text = (Text){at, stop, reading->lines, IN_LINES};
    if (!memchr(at, '\\', stop - at))
        return stop + 1;

    byte *begin = reading->texts.data + reading->texts.size, *to = begin;
    for (; at < end && *at != '"'; at++) {
        *to++ = *at;
        if (*at != '\\')
            continue;
        if (++at == end || !*at)
            return NULL;
        const char *name = strchr(NAMES, *at);
        if (name) {
            to[-1] = (byte)MEANT[name - NAMES];
        } else if (*at == 'x' && end - at > 2) {
            int high = hexadecimal(at[1]), low = hexadecimal(at[2]);
            if (high < 0 || low < 0 || high > 7) /* more is a part of a character, or of none */
                return NULL;
            to[-1] = (byte)(high << 4 | low);
            at += 2;
        } else {
            return NULL;
        }
    }
    if (at == end)
        return NULL;
    reading->texts.size = to - reading->texts.data;
    *text = (Text){begin, to, reading->texts.data, reading->texts.buffer};
    return at + 1;
}

static bool is_digit(byte found)
{
    return found >= '0' && found <= '9';
}

/* Whether the text ends with ` HTTP/1.1` or ` HTTP/2`; `protocol` is where the space is. */
static bool find_protocol(Text text, const byte **protocol)
{
    int64_t size = text.end - text.at;

    if (size >= 9 && text.end[-2] == '.' && is_digit(text.end[-1]) && is_digit(text.end[-3]))
        *protocol = text.end - 9;
    else if (size >= 7 && is_digit(text.end[-1]))
        *protocol = text.end - 7;
    else
        return false;
    return !memcmp(*protocol, " HTTP/", 6);
}

/* `method path protocol`: the last is an attribute, and mostly the one of the line before. */
static bool put_request(Reading *reading, int64_t line, Text request)
{
    const byte *protocol, *at = request.at;
    Text method = request, path = request;

    if (!find_protocol(request, &protocol))
        return false;
    while (at < protocol && *at >= 'A' && *at <= 'Z')
        at++;
    method.end = at;
    path.at = at + 1;
    path.end = protocol;
    if (at == request.at || path.at >= path.end || *at != ' ' || *path.at == ' ' ||
        path.end[-1] == ' ')
        return false;
    put_text(reading, METHOD, line, method);
    ((View *)reading->keys[PATH].out)[line] =
        view_of(path.at, path.end - path.at, path.buffer, path.base);

    static const char BEFORE[] = "{\"protocol\":\"", AFTER[] = "\"}";
    const int64_t size = request.end - ++protocol, before = sizeof BEFORE - 1;
    const View *last = &reading->last_object;
    const byte *object = reading->objects.data + last->there.offset;
    if (last->size != before + size + 2 || memcmp(object + before, protocol, size)) {
        int64_t begin = reading->objects.size;
        append(&reading->objects, BEFORE, before);
        append(&reading->objects, protocol, size);
        append(&reading->objects, AFTER, 2);
        reading->last_object = made_view(&reading->objects, begin);
    }
    reading->attributes[line] = reading->last_object;
    return true;
}

static bool put_status(const Reading *reading, int64_t line, Text text)
{
    int status;

    if (text.end - text.at != 3 || !read_digits(text.at, 3, &status) || status < 100 ||
        status > 599)
        return false;
    ((uint16_t *)reading->keys[STATUS].out)[line] = (uint16_t)status;
    return true;
}

static bool put_size(const Reading *reading, int64_t line, Text text)
{
    uint64_t size = 0;

    if (text.end - text.at > 20)
        return false;
    if (text.end - text.at == 1 && *text.at == '-')
        return true;
    for (; text.at < text.end; text.at++) {
        unsigned digit = *text.at - '0';
        if (digit > 9 || size > (UINT64_MAX - digit) / 10)
            return false;
        size = size * 10 + digit;
    }
    ((uint64_t *)reading->keys[SIZE].out)[line] = size;
    return true;
}

/* A time in brackets, mostly the one of the line before; it is 28 bytes. */
static const byte *read_time(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    if (end - at < 28)
        return NULL;
    if (!reading->last_time || memcmp(reading->last_time, at, 28)) {
        int64_t micros;
        if (!read_clf(at, &micros))
            return NULL;
        reading->last_time = at;
        reading->last_micros = micros;
    }
    put_time(reading, &reading->keys[TIMESTAMP], line, reading->last_micros, true);
    return at + 28;
}

static const byte *skip_space(const byte *at, const byte *end)
{
    return at && at < end && *at == ' ' ? at + 1 : NULL;
}

bool read_combined(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    Text word, request, referer, agent;

    if (!(at = read_word(reading, at, end, &word)) || has(word, ','))
        return false;
    put_text(reading, HOST, line, word);
    if (end - at < 2 || memcmp(at, "- ", 2) || !(at = read_word(reading, at + 2, end, &word)) ||
        has(word, '\\'))
        return false;
    if (word.end - word.at == 2 && !memcmp(word.at, "\"\"", 2))
        word.at = word.end; /* Apache's empty name */
    put_text(reading, USER, line, word);
    at = skip_space(read_time(reading, line, at, end), end);
    if (!at || !(at = skip_space(read_quoted(reading, at, end, &request), end)) ||
        !put_request(reading, line, request))
        return false;
    if (!(at = read_word(reading, at, end, &word)) || !put_status(reading, line, word))
        return false;
    if (!(at = read_word(reading, at, end, &word)) || !put_size(reading, line, word))
        return false;
    if (!(at = skip_space(read_quoted(reading, at, end, &referer), end)) ||
        read_quoted(reading, at, end, &agent) != end)
        return false;
    put_text(reading, REFERER, line, referer);
    put_text(reading, AGENT, line, agent);
    return true;
}
