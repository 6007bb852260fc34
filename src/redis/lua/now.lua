-- Redis' own clock in ms, the same within one script, and as a text like JavaScript's toISOString.
local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

-- Days since 1970 as a date of the Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
local function iso(ms)
  local floor = math.floor
  local days = floor(ms / 86400000)
  local time = ms - days * 86400000
  local shifted = days + 719468
  local era = floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local march = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * march + 2) / 5) + 1
  local month = march < 10 and march + 3 or march - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  local hours, minutes, seconds = floor(time / 3600000), floor(time / 60000) % 60, floor(time / 1000) % 60
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, hours, minutes, seconds, time % 1000)
end
local AT = iso(NOW)
