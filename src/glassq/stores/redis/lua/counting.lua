-- counting: whole numbers that follow one another, as texts: to look for the last digit takes half as long as to write
-- all of them.

local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

-- Each call tells the next one, from the one behind this on.
local function counting(number)
  local tens
  return function()
    number = number + 1
    local digit = number % 10
    if digit == 0 or not tens then tens = number < 10 and '' or text((number - digit) / 10) end
    return tens .. DIGITS[digit]
  end
end

