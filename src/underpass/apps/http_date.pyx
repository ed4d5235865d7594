"""HTTP dates: written as IMF-fixdate, read in that format and in the two obsolete ones (RFC 9110 5.6.7)."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

cdef enum:
    DAY = 86400
    LAST_SECOND = 253402300799      # 9999-12-31 23:59:59: years have four digits

cdef const char *DAYS = b"ThuFriSatSunMonTueWed"            # 1970-01-01 was a Thursday
cdef const char *MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"

cdef struct Civil:
    int64_t days                    # since 1970-01-01
    uint32_t year
    uint32_t month                  # 0..11
    uint32_t day                    # 1..31
    uint32_t second                 # of the day


cdef inline bint is_leap(uint32_t year) noexcept nogil:
    return (year % 4 == 0 and year % 100 != 0) or year % 400 == 0


cdef inline uint32_t days_in_month(uint32_t month, uint32_t year) noexcept nogil:
    if month == 1:
        return 29 if is_leap(year) else 28
    return 30 if month in (3, 5, 8, 10) else 31


cdef inline int64_t days_before_year(uint32_t year) noexcept nogil:
    """Days from 1970-01-01 to the first of January of a year from 1601 on."""
    cdef int64_t past = year - 1
    return (past * 365 + past // 4 - past // 100 + past // 400) - 719162


cdef int64_t seconds_of(uint32_t year, uint32_t month, uint32_t day, uint32_t second) noexcept nogil:
    """Seconds since 1970; -1 for a day that the calendar does not have."""
    if year < 1970 or year > 9999 or day < 1 or day > days_in_month(month, year):
        return -1
    cdef int64_t days = days_before_year(year) + day - 1
    cdef uint32_t earlier
    for earlier in range(month):
        days += days_in_month(earlier, year)
    return days * DAY + second


cdef Civil civil_of(int64_t seconds) noexcept nogil:
    """The calendar's day; times outside 1970..9999 are moved to its ends."""
    cdef Civil civil
    cdef uint32_t day
    seconds = min(max(seconds, 0), <int64_t>LAST_SECOND)
    civil.days = seconds // DAY
    civil.second = <uint32_t>(seconds % DAY)
    civil.year = <uint32_t>(1970 + civil.days // 366)       # never too late, and a few years early at most
    while days_before_year(civil.year + 1) <= civil.days:
        civil.year += 1
    day = <uint32_t>(civil.days - days_before_year(civil.year))
    civil.month = 0
    while day >= days_in_month(civil.month, civil.year):
        day -= days_in_month(civil.month, civil.year)
        civil.month += 1
    civil.day = day + 1
    return civil


cdef inline void put2(uint8_t *into, uint32_t value) noexcept nogil:
    into[0] = <uint8_t>(48 + value // 10 % 10)
    into[1] = <uint8_t>(48 + value % 10)


cdef void put_time(uint8_t *into, uint32_t second) noexcept nogil:
    """HH:MM:SS"""
    put2(into, second // 3600)
    put2(into + 3, second // 60 % 60)
    put2(into + 6, second % 60)
    into[2] = into[5] = c":"


cdef void date_format(int64_t seconds, uint8_t *into) noexcept nogil:
    """Write DATE_OCTETS: Sun, 06 Nov 1994 08:49:37 GMT."""
    cdef Civil civil = civil_of(seconds)
    memcpy(into, b"---, -- --- ---- --:--:-- GMT", DATE_OCTETS)
    memcpy(into, DAYS + 3 * (civil.days % 7), 3)
    put2(into + 5, civil.day)
    memcpy(into + 8, MONTHS + 3 * civil.month, 3)
    put2(into + 12, civil.year // 100)
    put2(into + 14, civil.year % 100)
    put_time(into + 17, civil.second)


cdef void date_format_log(int64_t seconds, uint8_t *into) noexcept nogil:
    """Write LOG_DATE_OCTETS: 06/Nov/1994:08:49:37 +0000."""
    cdef Civil civil = civil_of(seconds)
    memcpy(into, b"--/---/----:--:--:-- +0000", LOG_DATE_OCTETS)
    put2(into, civil.day)
    memcpy(into + 3, MONTHS + 3 * civil.month, 3)
    put2(into + 7, civil.year // 100)
    put2(into + 9, civil.year % 100)
    put_time(into + 12, civil.second)


cdef int32_t number(const uint8_t *at, uint32_t digits) noexcept nogil:
    """The value of so many digits, or -1."""
    cdef int32_t value = 0
    cdef uint32_t i
    for i in range(digits):
        if at[i] < c"0" or at[i] > c"9":
            return -1
        value = value * 10 + (at[i] - c"0")
    return value


cdef int32_t month_of(const uint8_t *at) noexcept nogil:
    cdef int32_t month
    for month in range(12):
        if memcmp(at, MONTHS + 3 * month, 3) == 0:
            return month
    return -1


cdef int32_t second_of_day(const uint8_t *at) noexcept nogil:
    """Of HH:MM:SS; -1 where it is no time. A leap second counts as the one before."""
    cdef int32_t hour = number(at, 2), minute = number(at + 3, 2), second = number(at + 6, 2)
    if at[2] != c":" or at[5] != c":" or hour < 0 or minute < 0 or second < 0:
        return -1
    if hour > 23 or minute > 59 or second > 60:
        return -1
    return hour * 3600 + minute * 60 + min(second, 59)


cdef int64_t combine(int32_t year, const uint8_t *month, int32_t day, const uint8_t *time) noexcept nogil:
    cdef int32_t which = month_of(month), second = second_of_day(time)
    if year < 0 or which < 0 or day < 0 or second < 0:
        return -1
    return seconds_of(<uint32_t>year, <uint32_t>which, <uint32_t>day, <uint32_t>second)


cdef int64_t parse_imf(const uint8_t *at) noexcept nogil:
    """Sun, 06 Nov 1994 08:49:37 GMT"""
    if at[4] != c" " or at[7] != c" " or at[11] != c" " or at[16] != c" " or memcmp(at + 25, b" GMT", 4) != 0:
        return -1
    return combine(number(at + 12, 4), at + 8, number(at + 5, 2), at + 17)


cdef int64_t parse_rfc850(const uint8_t *at, int64_t now_s) noexcept nogil:
    """06-Nov-94 08:49:37 GMT: what follows the weekday. A year over 50 years ahead lies a century back."""
    cdef int32_t short_year = number(at + 7, 2)
    cdef int32_t this_year = <int32_t>civil_of(now_s).year
    cdef int32_t year = this_year - this_year % 100 + short_year
    if short_year < 0 or at[2] != c"-" or at[6] != c"-" or at[9] != c" " or memcmp(at + 18, b" GMT", 4) != 0:
        return -1
    if year > this_year + 50:
        year -= 100
    return combine(year, at + 3, number(at, 2), at + 10)


cdef int64_t parse_asctime(const uint8_t *at) noexcept nogil:
    """Sun Nov  6 08:49:37 1994"""
    cdef int32_t day = number(at + 9, 1) if at[8] == c" " else number(at + 8, 2)
    if at[7] != c" " or at[10] != c" " or at[19] != c" ":
        return -1
    return combine(number(at + 20, 4), at + 4, day, at + 11)


cdef int64_t date_parse(const uint8_t *at, uint32_t count, int64_t now_s) noexcept nogil:
    """Seconds of an HTTP date; the weekday's name is not compared with the date. -1: not a date."""
    cdef uint32_t i
    if count == DATE_OCTETS and at[3] == c",":
        return parse_imf(at)
    if count == 24 and at[3] == c" ":
        return parse_asctime(at)
    for i in range(6, 10):                                  # Sunday, to Wednesday,
        if count == i + 24 and at[i] == c"," and at[i + 1] == c" ":
            return parse_rfc850(at + i + 2, now_s)
    return -1
