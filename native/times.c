/* Times, as in flows/parsing/times.py, for the usual cases. */

#include "native.h"

static const int64_t SECOND = 1000000;

/* The years that a store can hold. */
enum { FIRST_YEAR = 1900, LAST_YEAR = 2299 };

bool is_storable(int64_t micros)
{
    const int64_t FIRST = -2208988800 * SECOND, LAST = 10413792000 * SECOND - 1;

    return FIRST <= micros && micros <= LAST;
}

bool read_digits(const byte *at, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        unsigned digit = at[i] - '0';
        if (digit > 9)
            return false;
        *value = *value * 10 + (int)digit;
    }
    return true;
}

/* Days since 1970 in the proleptic Gregorian calendar, in years that begin in March. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* Microseconds since 1970 of a day and a clock like 12:34:56; false if there is no such time. */
static bool micros_of(int year, int month, int day, const byte *clock, int64_t *micros)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int hour, minute, second;

    if (clock[2] != ':' || clock[5] != ':' || !read_digits(clock, 2, &hour) ||
        !read_digits(clock + 3, 2, &minute) || !read_digits(clock + 6, 2, &second))
        return false;
    if (year < FIRST_YEAR || year > LAST_YEAR || month < 1 || month > 12 || day < 1 ||
        day > DAYS[month - 1] + (month == 2 && is_leap) || hour > 23 || minute > 59 || second > 59)
        return false;
    int64_t minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute;
    *micros = (minutes * 60 + second) * SECOND;
    return true;
}

/* Subtracts `Z`, `+02`, `+0200` or `+02:00`, which is up to the end. */
static bool subtract_offset(const byte *at, const byte *end, int64_t *micros)
{
    int hours, minutes = 0;

    if (end - at == 1)
        return *at == 'Z' || *at == 'z';
    if (end - at < 3 || (*at != '+' && *at != '-') || !read_digits(at + 1, 2, &hours))
        return false;
    const byte *rest = at + 3;
    if (rest < end && *rest == ':')
        rest++;
    if (rest < end ? end - rest != 2 || !read_digits(rest, 2, &minutes) : rest != at + 3)
        return false;
    *micros -= (hours * 60 + minutes) * 60 * SECOND * (*at == '-' ? -1 : 1);
    return hours <= 23 && minutes <= 59 && is_storable(*micros);
}

/* Adds the fraction of a second that is here, if one is; NULL if it has no digits. */
static const byte *add_fraction(const byte *at, const byte *end, int64_t *micros)
{
    int64_t unit = SECOND / 10;

    if (at == end || (*at != '.' && *at != ','))
        return at;
    if (++at == end || *at < '0' || *at > '9')
        return NULL;
    for (; at < end && *at >= '0' && *at <= '9'; at++, unit /= 10)
        *micros += (*at - '0') * unit; /* what is finer than a microsecond is cut off */
    return at;
}

bool read_iso(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    int year, month, day;

    if (end - at < 19 || at[4] != '-' || at[7] != '-' ||
        (at[10] != 'T' && at[10] != ' ' && at[10] != 't'))
        return false;
    if (!read_digits(at, 4, &year) || !read_digits(at + 5, 2, &month) ||
        !read_digits(at + 8, 2, &day) || !micros_of(year, month, day, at + 11, micros))
        return false;
    bool has_space = at[10] == ' ';
    at = add_fraction(at + 19, end, micros);
    *is_zoned = at != end;
    if (at && has_space && end - at == 4 && !memcmp(at, " UTC", 4))
        return true;
    return at && (!*is_zoned || subtract_offset(at, end, micros));
}

/* A time like 17/May/2015:10:05:03, of 20 bytes. */
static bool read_day_first(const byte *at, int64_t *micros)
{
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int day, month = 0, year;

    if (at[2] != '/' || at[6] != '/' || at[11] != ':')
        return false;
    while (month < 12 && memcmp(at + 3, MONTHS + 3 * month, 3))
        month++;
    return read_digits(at, 2, &day) && read_digits(at + 7, 4, &year) &&
           micros_of(year, month + 1, day, at + 12, micros);
}

bool read_clf(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    *is_zoned = true;
    return end - at == 26 && at[20] == ' ' && read_day_first(at, micros) &&
           subtract_offset(at + 21, end, micros);
}

bool read_haproxy(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    *is_zoned = false;
    return end - at >= 20 && at[end - at > 20 ? 20 : 2] != ',' && read_day_first(at, micros) &&
           add_fraction(at + 20, end, micros) == end;
}
